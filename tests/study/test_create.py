import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage
from optuna.study import StudyDirection

from sweeper.errors import SpecError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.create import create_study, load_study_from_storage
from sweeper.study.storage.backend import open_storage
from sweeper.study.study import SweepStudy
from sweeper.study.warm_start import KnownTrial, WarmStart
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    begin,
    claim_trial,
    in_processes,
    numbers,
    reports,
    run_trial,
    spec_of,
)

SEARCH = {"epochs": 3, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}}


def test_a_changed_search_is_refused_with_what_changed(tmp_path: Path) -> None:
    begin(tmp_path)
    changes = {
        "data": {"name": "digits", "batch_size": 32},
        "model": {"architecture": {"choices": ["mlp", "cnn"]}},
        "train": {**SEARCH, "learning_rate": {"low": 0.001, "high": 0.5, "log": True}},
    }
    with pytest.raises(StudyError) as caught:
        begin(tmp_path, **changes)
    assert str(caught.value) == "\n".join(
        [
            f"{tmp_path}/small.yaml: the search has changed since study 'small' began:",
            "  data.batch_size: was 64, is 32",
            '  model.architecture: was "mlp", is {"choices": ["mlp", "cnn"]}',
            '  train.learning_rate: was {"low": 0.001, "high": 0.1, "log": true}, '
            'is {"low": 0.001, "high": 0.5, "log": true}',
            "Trials before and after would not compare. Change it back, or begin another study "
            "with `--name NEW`, or a new `name:` in the file; it learns from these trials by "
            "`warm_start: {from: small}`. Budget, sampler, pruner, run and tracking may change "
            "freely.",
        ]
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 8}, "  seed: was 7, is 8"),
        (
            {"train": {**SEARCH, "momentum": {"low": 0.5, "high": 0.9}}},
            '  train.momentum: was 0.9, is {"low": 0.5, "high": 0.9}',
        ),
        ({"train": {**SEARCH, "patience": 2}}, "  train.patience: was absent, is 2"),
        (
            {"forbid": [{"train.learning_rate": 0.05}]},
            '  forbid: was [], is [{"train.learning_rate": 0.05}]',
        ),
        (
            {"objective": {"metric": "val_loss", "direction": "minimize"}},
            '  objective.metric: was ["val_accuracy"], is ["val_loss"]',
        ),
    ],
)
def test_whatever_decides_what_a_trial_means_is_frozen(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    begin(tmp_path)
    with pytest.raises(StudyError) as caught:
        begin(tmp_path, **changes)
    assert line in str(caught.value).splitlines()


def test_all_that_does_not_change_what_a_trial_means_may_change(tmp_path: Path) -> None:
    begin(tmp_path)
    study = begin(
        tmp_path,
        budget={"trials": 12, "timeout": "2h"},
        sampler={"name": "tpe"},
        pruner={"name": "median"},
        run={"workers": 3, "device": "cpu"},
        tracking={"log_models": "none"},
        enqueue=[{"train.learning_rate": 0.05}],
        train={"learning_rate": SEARCH["learning_rate"], "momentum": 0.9, "epochs": 3},
    )
    assert study.counts() == {TrialState.WAITING: 12}


def test_how_batches_draw_is_settled_as_the_study_begins(tmp_path: Path) -> None:
    assert begin(tmp_path / "one").draws == "stream"
    assert begin(tmp_path / "one", run={"lanes": 4}).draws == "stream"
    for number, run in enumerate([{"lanes": "auto"}, {"lanes": 1}, {"pack": 2}]):
        assert begin(tmp_path / str(number), run=run).draws == "batch"
    assert begin(tmp_path / "lanes", run={"lanes": 4}).draws == "batch"
    study = begin(tmp_path / "lanes")
    assert study.draws == "batch"
    trial = claim_trial(study)
    assert trial is not None
    [drawn] = study.draw([trial])
    assert drawn.config.draws == "batch"


def test_a_process_killed_as_it_began_a_study_left_nothing_unsettled(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, run={"lanes": 4})
    storage = open_storage(spec, RunPaths(tmp_path / "mlruns", spec.name))
    storage.create_new_study([StudyDirection.MAXIMIZE], spec.name)
    assert begin(tmp_path, run={"lanes": 4}).draws == "batch"


def test_another_storage_does_not_take_a_folders_trials_for_its_own(tmp_path: Path) -> None:
    run_trial(begin(tmp_path), reports(0.5))
    elsewhere = {"storage": f"sqlite:///{tmp_path}/optuna.db", "run": {"workers": 1}}
    with pytest.raises(StudyError, match="small.yaml:22: storage: it does not hold the study wh"):
        begin(tmp_path, **elsewhere)
    assert begin(tmp_path).counts()[TrialState.COMPLETE] == 1
    run_trial(begin(tmp_path / "other", **elsewhere), reports(0.5))  # which has trial 0, too
    with pytest.raises(StudyError, match=r"was `storage` changed, or emptied"):
        begin(tmp_path, **elsewhere)


def test_a_storage_that_was_brought_back_does_not_give_a_number_twice(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_trial(study, reports(0.5))
    backup = study.paths.journal.read_bytes()
    run_trial(study, reports(0.6))
    study.paths.journal.write_bytes(backup)
    with pytest.raises(StudyError, match="brought back to an earlier state"):
        begin(tmp_path)
    shutil.rmtree(study.paths.trial_dir(1))
    assert begin(tmp_path).counts()[TrialState.COMPLETE] == 1


def test_a_storage_that_moved_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    run_trial(begin(tmp_path, storage=f"sqlite:///{file}", run={"workers": 1}), reports(0.5))
    moved = file.rename(tmp_path / "moved.db")
    study = begin(tmp_path, storage=f"sqlite:///{moved}", run={"workers": 1})
    assert study.counts()[TrialState.COMPLETE] == 1


def test_a_study_that_has_not_begun_is_not_created_by_looking(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    paths = RunPaths(tmp_path / "mlruns", spec.name)
    assert load_study_from_storage(spec, paths) is None
    assert list(tmp_path.iterdir()) == []
    create_study(spec, paths)
    found = load_study_from_storage(spec, paths)
    assert found is not None
    assert found.counts() == {}


def create(_: int, folder: Path) -> None:
    begin(folder)


def test_processes_that_begin_a_study_at_once_begin_one(tmp_path: Path) -> None:
    in_processes(3, create, tmp_path)
    assert numbers(begin(tmp_path).trials()) == list(range(10))


def test_the_data_may_lie_elsewhere_as_they_are_the_same(tmp_path: Path) -> None:
    begin(tmp_path, data={"name": "mnist", "root": "/scratch/a"})
    begin(tmp_path, data={"name": "mnist", "root": "/scratch/b"})


def test_a_folder_knows_its_study_by_a_key_that_stays(tmp_path: Path) -> None:
    study = begin(tmp_path)
    key = study.paths.key.read_text()
    assert len(key) == 12
    assert study.storage.get_study_user_attrs(study.study_id)["sweeper.key"] == key
    study.paths.key.unlink()  # as a study had none in its folder once
    assert begin(tmp_path).paths.key.read_text() == key


def test_a_storage_without_the_study_gives_none(tmp_path: Path) -> None:
    database = {"storage": f"sqlite:///{tmp_path}/optuna.db", "run": {"workers": 1}}
    begin(tmp_path, **database)
    other = spec_of(tmp_path, name="other", **database)
    assert load_study_from_storage(other, RunPaths(tmp_path / "mlruns", "other")) is None


def test_a_study_goes_on_once_a_notebooks_function_was_put_into_a_module(tmp_path: Path) -> None:
    begin(tmp_path, train={"function": "__main__:fit"})
    begin(tmp_path, train={"function": "mine:fit"})
    with pytest.raises(StudyError, match='train.function: was "__main__:fit", is "mine:other"'):
        begin(tmp_path, train={"function": "mine:other"})


RATE = "train.learning_rate"
WARM = WarmStart("trials of earlier", 1, 1, {}, [KnownTrial("complete", {RATE: 0.01}, [0.5], {})])


def begin_warm(folder: Path, read: Callable[[], WarmStart], **changes: Any) -> SweepStudy:
    spec = spec_of(folder, **{"warm_start": {"from": "earlier"}, **changes})
    return create_study(spec, RunPaths(folder / "mlruns", spec.name), read)


def unread() -> WarmStart:
    raise AssertionError("it is read once")


def test_a_warm_start_is_taken_once_whatever_becomes_of_its_source(tmp_path: Path) -> None:
    begun = begin_warm(tmp_path, lambda: WARM)
    again = begin_warm(tmp_path, unread)
    for study in (begun, again):
        assert study.sampler.warm_start == WARM
        assert [trial.params for trial in study.sampler.known] == [{RATE: 0.01}]
        assert (study.n_finished(), len(study.trials())) == (0, 0)


def test_a_warm_start_that_cannot_be_read_begins_nothing(tmp_path: Path) -> None:
    def fail() -> WarmStart:
        raise SpecError("warm_start.from: no such study")

    with pytest.raises(SpecError, match="no such study"):
        begin_warm(tmp_path, fail)
    # So the section may still be changed.
    assert begin_warm(tmp_path, lambda: WARM, warm_start={"from": "other"}).sampler.warm_start


@pytest.mark.parametrize("name", ["set_study_user_attr", "set_study_system_attr"])
def test_who_was_killed_before_a_warm_start_was_kept_is_followed_by_one_who_keeps_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(JournalStorage, name, killed)
        with pytest.raises(KeyboardInterrupt):
            begin_warm(tmp_path, lambda: WARM)
    assert begin_warm(tmp_path, lambda: WARM).sampler.warm_start == WARM


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (None, '  warm_start.from: was "earlier", is absent'),
        ({"from": "other"}, '  warm_start.from: was "earlier", is "other"'),
        ({"from": "earlier", "rename": {"lr": RATE}},
         f'  warm_start.rename.lr: was absent, is "{RATE}"'),
    ],
)  # fmt: skip
def test_a_warm_start_cannot_change_later(tmp_path: Path, section: Any, line: str) -> None:
    begin_warm(tmp_path, lambda: WARM)
    with pytest.raises(StudyError) as caught:
        begin_warm(tmp_path, unread, warm_start=section)
    assert line in str(caught.value).splitlines()


def test_a_study_that_began_without_a_warm_start_gets_none(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(StudyError, match='warm_start.from: was absent, is "earlier"'):
        begin_warm(tmp_path, unread)
