"""Epochs of several trials of a worker, recorded in one visit."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.errors import TrialDiverged, TrialInterrupted, TrialLost
from sweeper.events import Event, EventWriter
from sweeper.study.ownership import Ownership
from sweeper.study.reports import Report, TurnReports, record
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics
from tests.support.disk_calls import note_disk_calls
from tests.support.sweep_studies import begin, claim_trial, epoch, kinds, log

NAN = float("nan")


@contextmanager
def started(study: SweepStudy, n: int = 3) -> Iterator[tuple[TurnReports, list[RunningTrial]]]:
    """Trials of one worker that report in one turn."""
    reports, trials = TurnReports(study), []
    with ExitStack() as held:
        for _ in range(n):
            claimed = claim_trial(study)
            assert claimed is not None
            trial = RunningTrial(
                study,
                claimed,
                is_stopping=lambda: False,
                ledger=TimeLedger(),
            )
            trial.reports = reports
            trials.append(held.enter_context(trial))
            trial.start(None, None, params={}, tags={})
        yield reports, trials


def announce(trials: list[RunningTrial], number: int = 1, accuracy: float = 0.5) -> EpochMetrics:
    metrics = epoch(number, accuracy)
    assert all(trial.announce(metrics) for trial in trials)
    return metrics


def values(study: SweepStudy) -> list[dict[int, float]]:
    return [trial.intermediate_values for trial in study.trials()[:3]]


def test_they_are_recorded_before_any_of_them_counts_and_in_one_write_of_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin(tmp_path)
    with started(study) as (reports, trials):
        done = note_disk_calls(monkeypatch)
        metrics = announce(trials)
        assert reports.numbers == {0, 1, 2}
        assert values(study) == [{}, {}, {}]
        reports.record()
        assert reports.numbers == set()
        assert [log(study, n)[-1] for n in range(3)] == [metrics] * 3
        assert values(begin(tmp_path)) == [{1: 0.5}] * 3
        for trial in trials:
            trial.report(metrics)
            assert trial.history == [metrics]
            assert not trial.announce(metrics), "it is known"
            trial.report(metrics)
    assert done == [("fsync", study.paths.journal)]
    assert [kinds(study, n) for n in range(3)] == [["Started", "EpochMetrics"]] * 3


def test_whose_trial_was_taken_over_writes_nothing_and_the_others_do(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with started(study) as (reports, trials):
        put_back(study, 1)
        claimed = claim_trial(study, "another")
        assert claimed is not None
        assert claimed.number == 1
        metrics = announce(trials)
        reports.record()
        trials[0].report(metrics)
        with pytest.raises(TrialLost, match="trial 1 was taken over"):
            trials[1].report(metrics)
        trials[2].report(metrics)
    assert values(study) == [{1: 0.5}, {}, {1: 0.5}]
    assert kinds(study, 1) == ["Started"]


class EndedMeanwhile(EventWriter):
    """Another process takes the trial over, and ends it, as soon as the epoch is logged."""

    def __init__(self, study: SweepStudy, number: int) -> None:
        super().__init__(study.paths.events(number))
        self.study, self.number = study, number

    def append(self, event: Event) -> None:
        super().append(event)
        trial_id = self.study.trial_id(self.number)
        self.study.storage.set_trial_state_values(trial_id, OptunaState.FAIL)


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_whose_trial_is_ended_meanwhile_keeps_nobody_from_the_storage(
    storage: str, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {}
    if storage == "sqlite":
        changes = {"storage": f"sqlite:///{tmp_path}/s.db", "run": {"workers": 1}}
    study, reports = begin(tmp_path, **changes), []
    for number in range(3):
        claimed = claim_trial(study)
        assert claimed is not None
        events = EventWriter(study.paths.events(number))
        if number == 1:
            events = EndedMeanwhile(begin(tmp_path, **changes), number)
        ownership, trial_id = Ownership.of(study, claimed), study.trial_id(number)
        reports.append(Report(ownership, trial_id, events, epoch(1, 0.5), value=0.5))
    record(study, reports)
    assert [type(report.error) for report in reports] == [type(None), TrialLost, type(None)]
    assert values(study) == [{1: 0.5}, {}, {1: 0.5}]
    for report in reports:
        report.events.close()


def test_what_keeps_them_from_the_storage_puts_each_back_and_whoever_goes_on_tells_it(
    tmp_path: Path,
) -> None:
    study = begin(tmp_path)
    with started(study) as (reports, trials):
        metrics = announce(trials)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        room = study.paths.journal.stat().st_size + 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # as a disk with 10 bytes left
        try:
            reports.record()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        for trial in trials:
            with pytest.raises(TrialInterrupted, match="File too large.*make room"):
                trial.report(metrics)
            assert trial.history == [metrics]
    assert values(study) == [{}, {}, {}]
    put_back(study, 1)
    claimed = claim_trial(study)
    assert claimed is not None
    with RunningTrial(study, claimed, is_stopping=lambda: False, ledger=TimeLedger()) as again:
        assert not again.announce(metrics), "it has no others beside it"
        again.report(metrics)
    assert kinds(study, 1) == ["Started", "EpochMetrics"]
    assert values(study) == [{}, {1: 0.5}, {}]


def test_each_is_judged_by_what_it_reported(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with started(study) as (reports, trials):
        good, bad = announce(trials[:1]), announce(trials[1:2], accuracy=NAN)
        reports.record()
        trials[0].report(good)
        with pytest.raises(TrialDiverged, match="val_accuracy is nan after epoch 1"):
            trials[1].report(bad)
