import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sweeper.config.reader import load_study
from sweeper.config.render import render_study
from sweeper.errors import SpecError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.find import find_study
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import plain_study


def write(folder: Path, **changes: object) -> Path:
    """A user's study file."""
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(plain_study(**changes)))
    return file


def begin(file: Path, root: Path, suffix: str = "") -> SweepStudy:
    """As a command does: the study of the file, or the one on its fallback data."""
    spec = load_study(file)
    spec = replace(spec, name=spec.name + suffix)
    study = create_study(spec, RunPaths(root, spec.name))
    study.paths.resolved_spec.write_text(render_study(spec))
    return study


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mlruns"


def test_a_study_that_has_begun_is_found_by_its_file(tmp_path: Path, root: Path) -> None:
    file = write(tmp_path)
    begin(file, root)
    found = find_study(file, root)
    assert (found.spec.path, found.paths.study) == (file, "small")
    assert found.is_here
    study, trouble = found.try_open()
    assert study is not None
    assert (study.spec.name, trouble) == ("small", "")
    assert find_study(load_study(file), root).paths == found.paths


def test_a_study_that_has_not_begun_is_told_with_the_command_that_begins_it(
    tmp_path: Path, root: Path
) -> None:
    file = write(tmp_path)
    found = find_study(file, root)
    assert not found.is_here
    assert found.open() is None
    assert str(found.not_begun()) == f"study 'small' has not begun: sweeper run {file}"
    assert list(tmp_path.iterdir()) == [file], "looking leaves nothing behind"


def test_the_study_on_fallback_data_stands_in_until_its_own_has_begun(
    tmp_path: Path, root: Path
) -> None:
    begin(write(tmp_path), root, "-on-digits")
    tracking = {"uri": "http://localhost:5000"}
    file = write(tmp_path, tracking=tracking)
    found = find_study(load_study(file, ["run.workers=1"]), root)
    assert (found.spec.name, found.paths.study) == ("small-on-digits", "small-on-digits")
    assert found.spec.command("ui") == f"sweeper ui {file} run.workers=1"
    assert (found.spec.path, found.spec.tracking.uri) == (file, "http://localhost:5000")
    assert found.open() is not None
    begin(file, root)
    assert find_study(file, root).paths.study == "small"


def test_a_study_that_another_machine_began_is_found_in_its_storage(
    tmp_path: Path, root: Path
) -> None:
    file = write(tmp_path, storage=f"sqlite:///{tmp_path}/optuna.db", run={"workers": 1})
    begin(file, tmp_path / "another machine's mlruns")
    found = find_study(file, root)
    assert not found.is_here
    assert found.open() is not None


def test_a_storage_that_cannot_be_opened_is_told_or_raised(tmp_path: Path, root: Path) -> None:
    file = write(tmp_path, storage=f"sqlite:///{tmp_path}/nowhere/optuna.db", run={"workers": 1})
    found = find_study(file, root)
    with pytest.raises(StudyError, match=r"small.yaml:\d+: storage: cannot open the study's stor"):
        found.open()
    study, trouble = found.try_open()
    assert study is None
    assert "storage: cannot open the study's storage" in trouble


def test_a_storage_that_lost_the_study_is_told(tmp_path: Path, root: Path) -> None:
    file = write(tmp_path)
    begin(file, root).paths.journal.unlink()
    assert find_study(file, root).try_open() == (None, "the storage has no study 'small'")


def test_a_study_is_found_by_its_folder_wherever_that_lies(tmp_path: Path, root: Path) -> None:
    begin(write(tmp_path), root)
    elsewhere = tmp_path / "carried" / "mlruns" / "studies" / "small"
    shutil.copytree(root / "studies" / "small", elsewhere)
    found = find_study(elsewhere, root)
    assert found.is_here
    assert found.paths.root == tmp_path / "carried" / "mlruns"
    assert found.open() is not None


def test_a_folder_that_is_not_a_studys_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(SpecError) as caught:
        find_study(tmp_path, root)
    assert str(caught.value) == (
        f"{tmp_path}: a folder, but not that of a study: it has no study.yaml; "
        "name a study file, or a folder mlruns/studies/<name>"
    )


def test_a_folder_under_another_name_is_refused(tmp_path: Path, root: Path) -> None:
    begin(write(tmp_path), root)
    moved = (root / "studies" / "small").rename(root / "studies" / "large")
    with pytest.raises(SpecError) as caught:
        find_study(moved, root)
    assert str(caught.value) == (
        f"{moved}: this is the folder of study 'small'; it must lie in mlruns/studies/small, "
        "as it did where it comes from"
    )


@pytest.mark.parametrize("name", ["journal.log", "trials/0000/events.jsonl", "../../mlflow.lock"])
def test_a_folder_with_a_link_that_leads_out_of_it_is_refused(
    tmp_path: Path, root: Path, name: str
) -> None:
    study = begin(write(tmp_path), root)
    mine = tmp_path / "mine.txt"
    mine.write_text("no newline at its end")
    link = study.paths.study_dir / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(mine)
    with pytest.raises(SpecError, match=f"is a link to {mine}, outside of {root}; as a folder"):
        find_study(study.paths.study_dir, root)
    assert find_study(tmp_path / "small.yaml", root).is_here
    link.unlink()
    link.symlink_to(study.paths.key)
    assert find_study(study.paths.study_dir, root).is_here


def test_only_the_file_that_was_named_says_what_code_may_be_called(
    tmp_path: Path, root: Path
) -> None:
    own = {"architecture": {"choices": ["mlp", "nets:build", "nets:other"]}}
    file = write(tmp_path, model=own)
    study = begin(file, root)
    assert set(find_study(file, root).references) == {"nets:build", "nets:other"}
    assert set(find_study(study.paths.study_dir, root).references) == set()
    stand_in = begin(file, root, "-on-digits").paths.resolved_spec
    stand_in.write_text(stand_in.read_text().replace("nets:other", "lurking:build"))
    shutil.rmtree(study.paths.study_dir)
    found = find_study(file, root)
    assert found.paths.study == "small-on-digits"
    assert set(found.references) == {"nets:build", "nets:other"}
