"""Every example in the README, in docs/ and in --help does what it says."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

from sweeper.cli import app
from sweeper.config.cluster import load_profile
from sweeper.config.reader import load_study, parse_study
from tests.support.data_files import write_mnist
from tests.support.picture_files import write_pictures
from tests.support.spec_files import BASE
from tests.support.sweep import PATIENCE_S, Sweep, kill_group

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README, OWN_CODE, RESULTS = PAGES[0], ROOT / "docs" / "own-code.md", ROOT / "docs" / "results.md"
STUDY_FILE = ROOT / "docs" / "study-file.md"
PROFILES = "# ~/.config/sweeper/clusters.yaml\n"
pytestmark = pytest.mark.usefixtures("started_anew")
COMMANDS = ("init", "check", "run", "status", "ui", "submit", "cancel")


def blocks(language: str, pages: Sequence[Path] = PAGES) -> list[str]:
    texts = (page.read_text(encoding="utf-8") for page in pages)
    return [
        block
        for text in texts
        for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    ]


def page_commands() -> list[str]:
    """What readers may type as it is: the lines of console blocks."""
    return [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]


def sweeper_commands() -> list[list[str]]:
    """The words of each ``sweeper ...`` line, those that need a cluster or a server included."""
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    found = [shlex.split(line) for line in [*page_commands(), *lines]]
    return [words[1:] for words in found if words[0] == "sweeper"]


def help_text(command: str) -> str:
    words = [sys.executable, "-m", "sweeper", command, "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def help_examples() -> list[str]:
    found = [re.findall(r"Example: (sweeper .*)", help_text(command)) for command in COMMANDS]
    assert all(len(examples) == 1 for examples in found)
    return [example for [example] in found]


def test_the_study_file_of_the_readme_is_valid() -> None:
    [text] = blocks("yaml", [README])
    spec = parse_study(text, Path("readme.yaml"))
    assert spec.n_trials == 60


@pytest.mark.parametrize("text", [text for text in blocks("yaml") if text[0] != "#"])
def test_every_study_file_is_valid_and_every_part_fits_into_one(text: str) -> None:
    part = yaml.safe_load(text)
    is_whole = "data" in part or {"function", "command"} & part.get("train", {}).keys()
    parse_study(text if is_whole else BASE + text, Path("page.yaml"))


def test_the_profile_is_valid(tmp_path: Path) -> None:
    [text] = [text for text in blocks("yaml") if text.startswith(PROFILES)]
    path = tmp_path / "clusters.yaml"
    path.write_text(text)
    assert load_profile("hpc", path).partition == "gpu"


def test_the_files_that_build_on_each_other(tmp_path: Path) -> None:
    for text in blocks("yaml", [STUDY_FILE]):
        if found := re.match(r"# ([a-z]+\.yaml)\n", text):
            (tmp_path / found[1]).write_text(text)
    spec = load_study(tmp_path / "wider.yaml")
    assert set(spec.ranges()) == {"model.width", "train.learning_rate"}
    assert spec.sections["train"]["epochs"] == 9


@pytest.mark.parametrize("words", sweeper_commands(), ids=" ".join)
def test_every_command_is_one(words: list[str]) -> None:
    """Name, options and arguments; nothing is run."""
    words = words[: words.index(">")] if ">" in words else words
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    command = group.commands[words[0]]
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_the_text_names_is_there(page: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    named = set(re.findall(r"`sweeper ([a-z]+)", page.read_text(encoding="utf-8")))
    assert named <= set(group.commands)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the studies, each small enough for a test, and a tiny MNIST."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(ROOT / "studies", folder / "studies")
    for path in folder.rglob("*.yaml"):
        study = yaml.safe_load(path.read_text())
        study["budget"] = {"trials": 2}
        study["train"]["epochs"] = 2
        study["run"] = {"workers": 1}
        path.write_text(yaml.safe_dump(study))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 28, 28), dtype=np.uint8)
    write_mnist(folder / "data", images, np.arange(200, dtype=np.uint8) % 10)
    rows = "".join(f"{row},{'xy'[row % 2]}\n" for row in range(40))
    (folder / "rows.csv").write_text(f"size,kind\n{rows}")
    return folder


@pytest.mark.slow
def test_the_commands_of_the_pages_and_of_help(workplace: Path, port: int) -> None:
    commands = [*page_commands(), *help_examples()]
    commands.sort(key=lambda command: " run " not in command)  # status and ui look at what ran
    for command in dict.fromkeys(commands):
        words = command.split()
        if words[0] == "make":
            assert "python -m" in subprocess.check_output(
                ["make", "-n", *words[1:]], cwd=ROOT, text=True
            )
        elif words[0] == "sweeper" and words[1] == "ui":
            assert_ui_comes_up(workplace, words[1:], str(port))
        elif words[0] == "sweeper":
            if words[-1] == "studies/mine.yaml" and words[1] == "run":
                (workplace / words[-1]).unlink(missing_ok=True)
                run(workplace, ["init", words[-1]])
            if words[1] == "init":
                (workplace / words[2]).unlink(missing_ok=True)
            run(workplace, words[1 : words.index(">")] if ">" in words else words[1:])
        else:
            assert words[0] == "pip", f"no test runs {command!r}"


def run(folder: Path, words: list[str]) -> None:
    done = Sweep(folder).run(*words)
    assert done.returncode == 0, f"sweeper {' '.join(words)}\n{done.stdout}{done.stderr}"


def assert_ui_comes_up(folder: Path, words: list[str], port: str) -> None:
    words = [*words[: words.index("--port")], "--port", port] if "--port" in words else words
    words = words if "--port" in words else [*words, "--port", port]
    process = subprocess.Popen(
        Sweep(folder).command(*words),
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        page = f"http://127.0.0.1:{port}/?token="
        assert process.stdout.readline().startswith(f"MLflow UI: {page}")
        assert process.stdout.readline().startswith(f"mnist, charts: {page}")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        kill_group(process)


@pytest.mark.slow
def test_the_python_example(workplace: Path) -> None:
    [code] = blocks("python", [RESULTS])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "Best(number=" in done.stdout
    assert "val_accuracy" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data", "model", "function", "command"])
def test_the_users_own_code(workplace: Path, name: str) -> None:
    """The study files beside them reach their goal, from a folder that is not theirs."""
    done = Sweep(workplace).run("run", f"studies/custom/{name}.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert '"finished": 2' in done.stdout


#: Pages with modules that lie beside their study files.
WITH_CODE = (OWN_CODE, ROOT / "docs" / "tasks.md", ROOT / "docs" / "training.md")


def files(page: Path) -> dict[str, str]:
    """Name -> text: a block that names a file in its first line begins it, others go on."""
    found: dict[str, str] = {}
    for block in blocks("python", [page]):
        if named := re.match(r"# (\w+\.\w+)\n", block):
            name = named[1]
        found[name] = found.get(name, "") + block
    return found


def modules(page: Path) -> dict[str, str]:
    """Name -> text, of those that Python imports or runs."""
    return {
        name.removesuffix(".py"): text
        for name, text in files(page).items()
        if name.endswith(".py")
    }


def named_by(text: str, page: Path) -> list[tuple[str, str]]:
    """Modules of the page that a study file names, and their functions; none of a program."""
    return re.findall(rf"\b({'|'.join(modules(page))})(?::(\w+)|\.py\b)", text)


def studies_with_code() -> list[tuple[Path, str]]:
    return [
        (page, text)
        for page in WITH_CODE
        for text in blocks("yaml", [page])
        if "budget:" in text and named_by(text, page)
    ]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_a_page_defines_what_its_study_files_name(page: Path) -> None:
    named = named_by("".join(blocks("yaml", [page])), page)
    assert {module for module, _ in named} == modules(page).keys()
    for module, name in named:
        defined = rf"^(def|class) {name}\b" if name else rf"^# {module}\.py$"
        assert re.search(defined, modules(page)[module], re.MULTILINE), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "text"), studies_with_code(), ids=lambda value: getattr(value, "name", "")
)
def test_the_study_files_on_own_code_reach_their_goal(page: Path, text: str, sweep: Sweep) -> None:
    for module, code in modules(page).items():
        (sweep.folder / f"{module}.py").write_text(code)
    sweep.write(text)
    done = sweep.run("run", "sweep.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert f'"finished": {yaml.safe_load(text)["budget"]["trials"]}' in done.stdout


@pytest.mark.slow
def test_the_cell_of_the_page_on_own_code_runs_in_a_notebook(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra `dev`")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `dev`")
    pytest.importorskip("ipykernel", reason="needs the extra `dev`")
    cell = nbformat.v4.new_code_cell(files(OWN_CODE)["notebook.ipynb"])
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        nbformat.v4.new_notebook(cells=[cell]), timeout=2 * PATIENCE_S, resources=place
    ).execute()
    assert "4 of 4 trials" in cell.outputs[-1].data["text/html"]


@pytest.mark.slow
def test_the_study_on_pictures_learns_to_tell_colours(sweep: Sweep) -> None:
    [text] = blocks("yaml", [ROOT / "docs" / "images.md"])
    write_pictures(sweep.folder / "pets", n_each=20, size=(40, 48))
    sweep.write(text)
    done = sweep.run("run", "sweep.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert '"finished": 10' in done.stdout
    best = sweep.result().best
    assert best is not None
    assert best.values["val_f1"] == 1
