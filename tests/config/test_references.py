import logging
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import sweeper
from sweeper.config.references import is_reference, load_reference, make_importable
from sweeper.errors import SpecError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "reference_nets.py").write_text(
        "def build(): return 7\nclass Net: pass\nWIDTH = 3\n"
    )
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("reference_")]:
        del sys.modules[name]


def message(reference: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_reference(reference)
    return str(caught.value)


def test_a_colon_makes_a_reference() -> None:
    assert is_reference("my.nets:build")
    assert not is_reference("mlp")


def test_functions_and_classes_are_loaded(folder: Path) -> None:
    assert load_reference("reference_nets:build")() == 7
    assert load_reference("reference_nets:Net").__name__ == "Net"


def test_a_module_in_a_package_is_loaded(folder: Path) -> None:
    package = folder / "reference_package"
    package.mkdir()
    (package / "nets.py").write_text("def build(): return 8\n")
    assert load_reference("reference_package.nets:build")() == 8


@pytest.mark.parametrize(
    "bad", ["a:", ":b", "a/b.py:c", "a b:c", "a:b:c", "a..b:c", "a:b.c", "1a:b"]
)
def test_another_form_is_refused_with_an_example(bad: str) -> None:
    assert message(bad) == (
        f"{bad!r} is not of the form package.module:function, e.g. my_models.nets:build"
    )


def test_an_absent_module_is_named_with_the_folders_looked_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder / "gone"))
    text = message("reference_absent.nets:build")
    assert text.startswith(
        "cannot import 'build' from 'reference_absent.nets': "
        f"there is no module 'reference_absent'; looked in {folder}, "
    )
    assert "gone" not in text
    assert "site-packages" not in text


def test_an_absent_module_in_a_package_is_named(folder: Path) -> None:
    (folder / "reference_package").mkdir()
    (folder / "reference_package" / "__init__.py").write_text("")
    assert "there is no module 'reference_package.nets'" in message("reference_package.nets:build")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named 'not_installed_"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(5)", "SystemExit: 5"),
    ],
)
def test_a_module_that_fails_while_imported_is_told_apart(
    folder: Path, code: str, reason: str
) -> None:
    (folder / "reference_broken.py").write_text(code + "\n")
    text = message("reference_broken:build")
    assert "the module fails while it is imported, with " + reason in text
    assert "`python -c 'import reference_broken'` shows where" in text


def test_a_module_that_begins_a_study_as_it_is_imported_is_refused(folder: Path) -> None:
    (folder / "reference_script.py").write_text(
        "import sweeper\ndef build(): return 9\nsweeper.run('other.yaml')\n"
    )
    assert message("reference_script:build") == (
        "reference_script calls sweeper.run while a study imports it; put the call below an "
        '`if __name__ == "__main__":`'
    )
    with pytest.raises(SpecError, match=r"other\.yaml"):  # which anybody else may begin
        sweeper.run("other.yaml")


def test_an_absent_name_comes_with_the_nearest_one_and_the_file(folder: Path) -> None:
    assert message("reference_nets:biuld") == (
        "cannot import 'biuld' from 'reference_nets' "
        f"({folder / 'reference_nets.py'}): no such name; did you mean 'build'?"
    )
    assert message("reference_nets:zzz").endswith("no such name; it has build, Net, WIDTH")


def test_what_cannot_be_called_is_refused(folder: Path) -> None:
    assert message("reference_nets:WIDTH") == (
        "reference_nets:WIDTH is of type int, which cannot be called; name a function or a class"
    )


def test_the_users_folders_come_behind_the_standard_library_and_before_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    make_importable([str(tmp_path), "/beside"])
    at = sys.path.index(str(tmp_path))
    assert sys.path[at + 1] == "/beside"
    assert sys.path.index(sysconfig.get_path("stdlib")) < at
    assert at < sys.path.index(sysconfig.get_path("purelib"))
    before = list(sys.path)
    make_importable([str(tmp_path)])
    assert sys.path == before


def test_a_module_that_the_standard_library_has_too_is_told_apart(folder: Path) -> None:
    (folder / "token.py").write_text("def build(): return 7\n")
    assert message("token:build").endswith(
        "no such name; the standard library has a module of that name, so give yours another one"
    )


def test_an_import_does_not_change_the_working_directory_and_that_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    (folder / "reference_moves.py").write_text("import os\nos.chdir('/')\ndef build(): pass\n")
    load_reference("reference_moves:build")
    assert os.getcwd() == str(folder)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "module reference_moves changes the working directory while it is imported; it is put back"
    )
