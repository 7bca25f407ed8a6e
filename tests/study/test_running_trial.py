from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState as OptunaState

from sweeper.config.settings import TrialConfig
from sweeper.errors import TrialLost
from sweeper.events import Ended, Event, EventWriter, Interrupted, Started
from sweeper.locks import FileLock
from sweeper.study.attributes import state_of
from sweeper.study.conclude import conclude
from sweeper.study.recovery import reclaim_orphans
from sweeper.study.running_trial import RunningTrial
from sweeper.study.storage.object_store import ObjectStore
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import SweepStudy
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics, TrialState
from tests.support.function_studies import begin_function
from tests.support.sweep_studies import (
    begin,
    begin_in,
    claim_trial,
    epoch,
    kinds,
    last_outcome,
    log,
    put_checkpoint,
    reports,
    run_claimed,
    run_trial,
)

NAN = float("nan")


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def test_a_started_trial_tells_what_it_runs_with(study: SweepStudy) -> None:
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:
        config: TrialConfig = claim.draw()
        claim.start(None, config.model, params={"model.depth": 2}, tags={"seed": "7"})
    [event] = log(study)
    assert isinstance(event, Started)
    assert event.params == {**config.params, "model.depth": 2}
    assert event.params["train.learning_rate"] == study.trials()[0].params["train.learning_rate"]
    assert (event.resumed, event.tags, event.model) == (0, {"seed": "7"}, config.model)


class LookedOn(InMemoryStorage):
    """Notes, whenever a value is written, whether somebody holds the lock."""

    def __init__(self, lock: Path) -> None:
        super().__init__()
        self.lock = lock
        self.was_held: list[bool] = []

    def set_trial_param(self, *args: Any, **kwargs: Any) -> None:
        with FileLock(self.lock).tried() as is_free:
            self.was_held.append(not is_free)
        super().set_trial_param(*args, **kwargs)


@pytest.mark.parametrize(
    ("width", "duplicates", "is_alone"),
    [
        ({"low": 1, "high": 99}, "never", True),
        ({"low": 1, "high": 99}, "reseed", False),
        ({"low": 1, "high": 100}, "never", False),  # ten times as many as trials
    ],
)
def test_trials_of_a_small_space_are_drawn_one_by_one(
    tmp_path: Path, width: dict[str, int], duplicates: str, is_alone: bool
) -> None:
    storage = LookedOn(tmp_path / "mlruns" / "studies" / "small" / "study.lock")
    study = begin_in(
        storage,
        tmp_path,
        model={"architecture": "mlp", "width": width},
        train={"epochs": 1},
        sampler={"name": "random", "duplicates": duplicates},
    )
    assert study.paths.lock == storage.lock
    run_trial(study, reports(0.5))
    assert storage.was_held == [is_alone]


class WatchedObjectStore(ObjectStore):
    """Notes how the study's trials stand while something is pushed."""

    def __init__(self, url: str, study: SweepStudy) -> None:
        super().__init__(url, study="small", key="0a1b2c")
        self.seen: list[TrialState] = []
        self._study = study

    def push(self, number: int, *arguments: Any) -> None:
        super().push(number, *arguments)
        trial = self._study.trials()[number]
        lock = FileLock(self._study.paths.trial_lock(number))
        assert lock.try_acquire(), "it is held while the network is waited for"
        lock.release()
        self.seen.append(state_of(trial))


def test_a_trial_is_in_the_object_store_before_others_may_claim_it(study: SweepStudy) -> None:
    (study.paths.root / "object_store").mkdir()
    object_store = WatchedObjectStore(f"file://{study.paths.root}/object_store", study)
    trial = claim_trial(study, "worker")
    assert trial is not None
    put_checkpoint(study)
    transfer = TrialTransfer(object_store, study.paths, pytest.fail)
    state = run_claimed(study, trial, reports(0.5), is_stopping=lambda: True, transfer=transfer)
    assert (state, object_store.seen) == (TrialState.WAITING, [TrialState.RUNNING])
    manifest = object_store.newest(0)
    assert manifest is not None
    assert (manifest.claim, set(manifest.files)) == (1, {"events.jsonl", "checkpoint.pt"})
    object_store.fetch(0, manifest, "events.jsonl", study.paths.root / "log")
    assert (study.paths.root / "log").read_bytes() == study.paths.events(0).read_bytes()


def test_nothing_is_pruned_or_interrupted_after_the_last_epoch(tmp_path: Path) -> None:
    pruner = {"name": "median", "startup_trials": 0, "min_epochs": 3}
    study = begin(tmp_path, pruner=pruner)
    run_trial(study, reports(0.9, 0.9, 0.9))
    worse = run_trial(study, reports(0.1, 0.1, 0.1))
    assert worse == TrialState.COMPLETE
    stops = iter([False, False, True])
    state = run_trial(study, reports(0.9, 0.9, 0.9), is_stopping=lambda: next(stops))
    assert state == TrialState.COMPLETE


def test_a_functions_last_epoch_is_that_of_the_study_file(tmp_path: Path) -> None:
    train = {"function": "own:run", "epochs": 2, "x": {"low": 0.0, "high": 1.0}}
    pruner = {"name": "median", "startup_trials": 0, "min_epochs": 2}
    study = begin_function(tmp_path, trials=2, train=train, pruner=pruner)

    def body(claim: RunningTrial, score: float) -> None:
        assert claim.n_epochs == 2
        for n in (1, 2):
            claim.report(EpochMetrics(n, {"score": score}, 0.0))

    assert run_trial(study, partial(body, score=0.9)) == TrialState.COMPLETE
    assert run_trial(study, partial(body, score=0.1)) == TrialState.COMPLETE


def test_the_log_has_it_before_the_storage_is_told(
    study: SweepStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, Event]] = []

    def note(method: str) -> None:
        tell = getattr(study.storage, method)

        def noted(trial_id: int, what: object, *rest: object) -> object:
            if what != OptunaState.RUNNING:
                told.append((str(what), log(study)[-1]))
            return tell(trial_id, what, *rest)

        monkeypatch.setattr(study.storage, method, noted)

    note("set_trial_intermediate_value")
    note("set_trial_state_values")
    run_trial(study, reports(0.5), is_stopping=lambda: True)
    run_trial(study, reports(0.5, 0.6))
    logged = [event for event in log(study) if not isinstance(event, Started)]
    assert [type(event) for event in logged] == [EpochMetrics, Interrupted, EpochMetrics, Ended]
    words = ["1", str(OptunaState.WAITING), "2", str(OptunaState.COMPLETE)]
    assert told == list(zip(words, logged, strict=True))


def test_a_resumed_trial_is_the_same_trial(study: SweepStudy) -> None:
    run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True)
    drawn = study.trials()[0].params
    assert run_trial(study, reports(0.9, 0.6, 0.7)) == TrialState.COMPLETE
    trial = study.trials()[0]
    assert trial.params == drawn
    # Epoch 1 is known, so what the second process says of it is ignored.
    assert trial.intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7}
    assert [event.resumed for event in log(study) if isinstance(event, Started)] == [0, 1]
    assert [event.epoch for event in log(study) if isinstance(event, EpochMetrics)] == [1, 2, 3]


def test_an_epoch_that_reached_the_log_alone_is_filled_in(study: SweepStudy) -> None:
    run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True)
    with EventWriter(study.paths.events(0)) as events:
        events.append(epoch(2, 0.9))
    assert study.trials()[0].intermediate_values == {1: 0.5}
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:
        assert claim.history == [epoch(1, 0.5), epoch(2, 0.9)]
        assert study.trials()[0].intermediate_values == {1: 0.5, 2: 0.9}
        assert conclude(claim, map(reports(0.5, 0.9, 0.7), [claim])) == TrialState.COMPLETE
    assert study.trials()[0].values == [0.9]


def test_an_epoch_that_diverged_ends_the_trial_also_after_a_crash(study: SweepStudy) -> None:
    run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True)
    with EventWriter(study.paths.events(0)) as events:
        events.append(epoch(2, NAN))
    assert run_trial(study, reports(0.5, NAN, 0.9)) == TrialState.DIVERGED
    assert last_outcome(study).best == epoch(1, 0.5)


def test_a_trial_that_was_taken_over_is_written_no_more(study: SweepStudy) -> None:
    def lose(held: RunningTrial) -> None:
        held.report(epoch(1, 0.5))
        assert reclaim_orphans(study, "it seemed dead") == 1
        again = claim_trial(study, "successor")
        assert again is not None
        assert again.number == 0
        held.report(epoch(2, 0.6))

    with pytest.raises(TrialLost, match="trial 0 was taken over and is RUNNING now"):
        run_trial(study, lose)
    trial = study.trials()[0]
    assert (trial.state, trial.intermediate_values) == (OptunaState.RUNNING, {1: 0.5})
    assert kinds(study) == ["Started", "EpochMetrics", "Interrupted"]


@pytest.mark.parametrize("is_drawn", [False, True])
def test_a_trial_that_was_taken_over_before_it_began_is_neither_drawn_nor_started(
    study: SweepStudy, is_drawn: bool
) -> None:
    trial = claim_trial(study)
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as held:
        if is_drawn:
            held.draw()
        reclaim_orphans(study, "it seemed dead")
        assert claim_trial(study, "successor")
        with pytest.raises(TrialLost):
            held.start(None, None, params={}, tags={}) if is_drawn else held.draw()
    assert bool(study.trials()[0].params) is is_drawn
    assert kinds(study) == []


def test_how_far_it_is_is_told_now_and_then_not_after_every_batch(study: SweepStudy) -> None:
    trial = claim_trial(study)
    assert trial is not None
    told: list[tuple[int, float]] = []
    with RunningTrial(
        study,
        trial,
        is_stopping=lambda: False,
        ledger=TimeLedger(),
        tell_epochs=lambda number, epochs: told.append((number, epochs)),
    ) as claim:
        for n in range(1, 1001):
            claim.show_progress(3, n / 1000)
    assert told[0] == (0, 2.001)
    assert len(told) < 100
