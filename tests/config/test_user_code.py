from pathlib import Path

import pytest
import yaml

from sweeper.config import in_memory
from sweeper.config.in_memory import InMemory
from sweeper.config.reader import parse_study
from sweeper.config.study import StudySpec
from sweeper.config.user_code import code_digest, code_files, references


def write(folder: Path, **texts: str) -> None:
    """Modules by name, ``__`` for the dot between package and module."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/', 1) if not name.startswith('__') else name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def spec_of(folder: Path, function: str = "mine:run") -> StudySpec:
    study = {"name": "own", "objective": {"metric": "error", "direction": "minimize"},
             "budget": {"trials": 1}, "train": {"function": function}}  # fmt: skip
    return parse_study(yaml.safe_dump(study), folder / "own.yaml")


def test_the_references_of_a_file_are_listed_with_their_keys(tmp_path: Path) -> None:
    study = {"name": "own", "data": {"name": "mine:load"}, "budget": {"trials": 1},
             "model": {"architecture": {"choices": {"mine:build": {}, "mlp": {}}}}}  # fmt: skip
    spec = parse_study(yaml.safe_dump(study, sort_keys=False), tmp_path / "own.yaml")
    assert list(references(spec)) == [
        ("data.name", "mine:load"),
        ("model.architecture", "mine:build"),
    ]


def test_files_are_those_that_own_code_imports_wherever_the_import_stands(tmp_path: Path) -> None:
    write(
        tmp_path,
        mine="import json, torch\nfrom nets import wide\ndef run():\n    import late\n",
        late="",
        unused="",
        nets____init__="from . import base\n",
        nets__base="from .deep import layers\n",
        nets__wide="import nets.base",
        nets__deep="layers = 3\n",
        nets__unused="",
    )
    assert code_files(spec_of(tmp_path)) == {
        "mine": tmp_path / "mine.py",
        "late": tmp_path / "late.py",
        "nets": tmp_path / "nets/__init__.py",
        "nets.base": tmp_path / "nets/base.py",
        "nets.deep": tmp_path / "nets/deep.py",
        "nets.wide": tmp_path / "nets/wide.py",
    }


def test_of_an_installed_package_that_a_file_names_its_own_modules_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed"
    write(installed, kit____init__="", kit__run="from kit import nets\nimport other\n",
          kit__nets="", other="")  # fmt: skip
    monkeypatch.syspath_prepend(installed)
    found = code_files(spec_of(tmp_path / "study", "kit.run:main"))
    assert found.keys() == {"kit", "kit.run", "kit.nets"}


@pytest.mark.parametrize("changed", ["mine", "late"])
def test_the_digest_changes_with_any_of_the_files_and_comes_back_with_it(
    tmp_path: Path, changed: str
) -> None:
    texts = {"mine": "def run(params, trial):\n    import late\n", "late": "x = 1\n", "other": ""}
    write(tmp_path, **texts)
    before = code_digest(spec_of(tmp_path))
    write(tmp_path, other="y = 2\n")
    assert code_digest(spec_of(tmp_path)) == before
    write(tmp_path, **{changed: texts[changed] + "z = 3\n"})
    assert code_digest(spec_of(tmp_path)) != before
    write(tmp_path, **texts)
    assert code_digest(spec_of(tmp_path)) == before


@pytest.mark.parametrize("text", ["def run(:\n", "from . import nothing\n", "import mine\n"])
def test_code_that_cannot_be_imported_or_imports_itself_has_a_digest(
    tmp_path: Path, text: str
) -> None:
    write(tmp_path, mine=text)
    assert code_digest(spec_of(tmp_path))


def test_a_study_without_own_code_has_none(tmp_path: Path) -> None:
    study = {"name": "small", "data": {"name": "digits"}, "model": {"architecture": "mlp"},
             "budget": {"trials": 1}}  # fmt: skip
    spec = parse_study(yaml.safe_dump(study), tmp_path / "small.yaml")
    assert code_digest(spec) == ""


def test_torch_is_nobodys_own_code(tmp_path: Path) -> None:
    write(tmp_path, mine="import torch\n")
    study = {"name": "own", "data": {"name": "digits"}, "model": {"architecture": "mlp"},
             "train": {"optimizer": {"choices": ["mine:lion", "torch.optim:NAdam"]}}}  # fmt: skip
    spec = parse_study(yaml.safe_dump(study), tmp_path / "own.yaml")
    assert code_files(spec) == {"mine": tmp_path / "mine.py"}


def test_a_function_that_no_module_has_counts_with_the_modules_that_it_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_memory, "_known", {})
    spec = spec_of(tmp_path, "__main__:run")
    assert code_digest(spec) == ""  # nobody can run it then
    found = []
    for version, text in (("a", "x = 1\n"), ("b", "x = 1\n"), ("b", "x = 2\n")):
        write(tmp_path, mine=text)
        in_memory.remember({"__main__:run": InMemory(print, version, ("json", "mine"))})
        found.append(code_digest(spec))
    assert code_files(spec) == {"mine": tmp_path / "mine.py"}
    assert len({*found, ""}) == 4


def test_scripts_and_modules_that_a_command_runs_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, run__train="import parts\n", run__parts="", tool="import late", late="")
    (tmp_path / "go.sh").write_text("python run/train.py\n")
    (tmp_path / "rows.csv").touch()
    study = {
        "objective": {"metric": "error", "direction": "minimize"},
        "train": {"command": "torchrun -m torch.x run/train.py go.sh rows.csv absent.py -m tool"},
    }
    spec = parse_study(yaml.safe_dump(study), tmp_path / "own.yaml")
    assert set(code_files(spec)) == {"run/train.py", "parts", "go.sh", "tool", "late"}
    before = code_digest(spec)
    (tmp_path / "run/parts.py").write_text("x = 1\n")
    assert code_digest(spec) != before
