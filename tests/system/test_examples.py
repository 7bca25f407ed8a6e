"""Every example in the README and in --help does what it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from sweeper.config.reader import parse_study
from tests.support.data_files import write_mnist
from tests.support.sweep import Sweep, kill_group

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.usefixtures("started_anew")
COMMANDS = ("init", "check", "run", "status", "ui", "submit", "cancel")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def readme_commands() -> list[str]:
    return [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]


def help_text(command: str) -> str:
    words = [sys.executable, "-m", "sweeper", command, "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def help_examples() -> list[str]:
    found = [re.findall(r"Example: (sweeper .*)", help_text(command)) for command in COMMANDS]
    assert all(len(examples) == 1 for examples in found)
    return [example for [example] in found]


def test_the_study_file_of_the_readme_is_valid() -> None:
    [text] = blocks("yaml")
    spec = parse_study(text, Path("readme.yaml"))
    assert spec.n_trials == 60


def test_the_table_of_keys_names_every_key_and_its_default() -> None:
    from sweeper.config.schema import study_schema

    named = set(re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)?)`", README))
    parts = {word for name in named for word in name.split(".")}
    for section, schema in study_schema()["properties"].items():
        assert section in parts
        assert set(schema.get("properties", {})) - {"size"} <= parts


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
    return folder


@pytest.mark.slow
def test_the_commands_of_the_readme_and_of_help(workplace: Path, port: int) -> None:
    commands = [*readme_commands(), *help_examples()]
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
                (workplace / words[-1]).unlink(missing_ok=True)
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
        assert process.stdout.readline() == f"MLflow UI: http://127.0.0.1:{port}\n"
        assert process.stdout.readline().startswith(
            f"mnist, best first: http://127.0.0.1:{port}/#/"
        )
        process.terminate()
        assert process.wait(30) == 0
    finally:
        kill_group(process)


@pytest.mark.slow
def test_the_python_example_of_the_readme(workplace: Path) -> None:
    [code] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "Best(number=" in done.stdout
    assert "val_accuracy" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data", "model", "function"])
def test_the_users_own_code(workplace: Path, name: str) -> None:
    """The three study files with own.py reach their goal, from a folder that is not theirs."""
    done = Sweep(workplace).run("run", f"studies/custom/{name}.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert '"finished": 2' in done.stdout
