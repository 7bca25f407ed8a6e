"""An earlier study as a source: found by name, file, folder or storage, read as it was begun."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config.study import StudySpec
from sweeper.errors import SpecError, StudyError
from sweeper.study.find import find_study
from sweeper.study.source_study import read_source_study
from sweeper.study.source_trials import Source
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    CONDITIONAL,
    PRUNED,
    begin,
    plain_study,
    raises,
    reports,
    run_trial,
    spec_of,
)

RATE = "train.learning_rate"


def earlier(folder: Path, **changes: Any) -> SweepStudy:
    """A study whose folder is whole, with a trial of each end and one that runs on."""
    study = begin(folder, **{"name": "earlier", **changes})
    run_trial(study, reports(0.4, 0.6, 0.5))
    run_trial(study, reports(0.3))
    run_trial(study, PRUNED)
    run_trial(study, reports(float("nan")))
    run_trial(study, raises(ValueError("no")))
    text = yaml.safe_dump(plain_study(name="earlier", **changes))
    study.paths.resolved_spec.write_text(text)
    return study


def later(folder: Path, source: Any = "earlier", **changes: Any) -> StudySpec:
    return spec_of(folder, name="later", warm_start={"from": source}, **changes)


def read(folder: Path, source: Any = "earlier", **changes: Any) -> Source:
    return read_source_study(later(folder, source, **changes), folder / "mlruns")


def test_trials_that_have_ended_with_all_their_settings(tmp_path: Path) -> None:
    study = earlier(tmp_path)
    source = read(tmp_path)
    assert (source.name, source.n_epochs) == ("trials of earlier", 3)
    first, *others = source.trials
    assert [trial.state for trial in source.trials] == [
        TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED,
        TrialState.FAILED,
    ]  # fmt: skip
    assert first.metrics == {"val_accuracy": 0.6}
    assert first.curve == {1: 0.4, 2: 0.6, 3: 0.5}
    assert first.settings[RATE] == study.trials()[0].params[RATE]
    # Constants, and what the file left to its defaults.
    assert first.settings.items() >= {
        "train.epochs": 3, "train.optimizer": "adamw", "model.architecture": "mlp",
        "data.batch_size": 64,
    }.items()  # fmt: skip


def test_values_of_a_branch_by_their_whole_names(tmp_path: Path) -> None:
    study = earlier(tmp_path, model=CONDITIONAL)
    for trial, found in zip(study.trials(), read(tmp_path).trials, strict=False):
        assert found.settings.items() >= trial.params.items()


@pytest.mark.parametrize("named", ["earlier.yaml", "mlruns/studies/earlier", "elsewhere"])
def test_by_a_path_of_its_file_or_folder(
    tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(tmp_path)
    (tmp_path / "earlier.yaml").write_text(yaml.safe_dump(plain_study(name="earlier")))
    monkeypatch.chdir(tmp_path)
    if named == "elsewhere":
        named = "elsewhere/mlruns/studies/earlier"
        shutil.move(tmp_path / "mlruns", tmp_path / "elsewhere/mlruns")
    assert len(read(tmp_path, f"./{named}").trials) == 5


def test_by_name_in_the_same_storage(tmp_path: Path) -> None:
    """On another machine there is no folder of it."""
    storage = f"sqlite:///{tmp_path}/sweep.db"
    earlier(tmp_path, storage=storage)
    shutil.rmtree(tmp_path / "mlruns")
    assert len(read(tmp_path, storage=storage).trials) == 5


def test_what_it_searched_is_asked_of_its_storage_not_of_its_file(tmp_path: Path) -> None:
    study = earlier(tmp_path)
    train = {"epochs": 9, "learning_rate": {"low": 0.5, "high": 0.6}}
    study.paths.resolved_spec.write_text(yaml.safe_dump(plain_study(name="earlier", train=train)))
    assert read(tmp_path).n_epochs == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "earliest",
            "own is named by its study file; did you mean 'earlier'?",
        ),
        ("./none.yaml", "none.yaml: no such file"),
        ("./begun-not.yaml", "study 'begun-not' has not begun: sweeper run begun-not.yaml"),
        ("./wrong.yaml", "wrong.yaml:1: no_key: unknown key"),
        ("./later.yaml", "is this study itself; name the earlier one"),
    ],
)
def test_what_cannot_be_found_is_said_with_its_place(
    tmp_path: Path, source: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(tmp_path)
    begin(tmp_path, name="later")
    (tmp_path / "begun-not.yaml").write_text(yaml.safe_dump(plain_study(name="begun-not")))
    (tmp_path / "later.yaml").write_text(yaml.safe_dump(plain_study(name="later")))
    (tmp_path / "wrong.yaml").write_text("no_key: 1\nno_other: 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        read(tmp_path, source)
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{tmp_path}/small.yaml:")
        assert ": warm_start.from: " in line
    assert said.format(tmp_path) in str(caught.value)


def test_another_metric_or_direction_is_refused_with_the_way_out(tmp_path: Path) -> None:
    earlier(tmp_path)
    with pytest.raises(SpecError, match="holds no val_loss; .* `from: {mlflow: earlier}`"):
        read(tmp_path, objective={"metric": "val_loss"})
    with pytest.raises(SpecError, match="had to maximize val_accuracy, this one has to minimize"):
        read(tmp_path, objective={"metric": "val_accuracy", "direction": "minimize"})


def test_a_folder_that_names_a_server_is_not_followed(tmp_path: Path) -> None:
    study = earlier(tmp_path)
    text = yaml.safe_dump(plain_study(name="earlier", storage="postgresql://host/db"))
    study.paths.resolved_spec.write_text(text)
    with pytest.raises(StudyError, match="no server that it names is asked"):
        read(tmp_path, str(study.paths.study_dir))
    # By its name it is found in its journal, wherever its runs are tracked.
    text = yaml.safe_dump(plain_study(name="earlier", tracking={"uri": "http://host"}))
    study.paths.resolved_spec.write_text(text)
    assert len(read(tmp_path).trials) == 5


def test_a_study_of_others_in_the_same_storage_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/sweep.db"
    study = begin(tmp_path, storage=storage)
    study.storage.create_new_study(
        [study.storage.get_study_directions(study.study_id)[0]], "alien"
    )
    with pytest.raises(StudyError, match="'alien' that was not begun by sweeper"):
        read(tmp_path, "alien", storage=storage)


def test_nothing_is_left_of_asking(tmp_path: Path) -> None:
    earlier(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    read(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert find_study(tmp_path / "mlruns/studies/earlier", tmp_path / "mlruns").open()


def test_a_study_that_an_older_sweeper_began(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parents[1] / "system/studies/2bacb41.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = read(tmp_path, "aged", objective={"metric": "val_accuracy"})
    assert len(source.trials) > 5
    assert all(trial.settings for trial in source.trials if trial.state == TrialState.COMPLETE)
