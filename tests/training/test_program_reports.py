"""What a program tells, as its trial reports it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeper.errors import TrainingError, TrialPruned
from sweeper.training.program_records import Record
from sweeper.training.program_reports import ProgramReports
from sweeper.trial import Objective
from tests.support.recorder import Recorder
from tests.support.user_trials import user_trial

LOSS = Objective(("loss",), ("minimize",))
BOTH = Objective(("loss", "size"), ("minimize", "minimize"))


class Told:
    """Programs of one trial, process after process."""

    def __init__(self, folder: Path, objective: Objective = LOSS) -> None:
        self.reporter = Recorder()
        self.notes: list[str] = []
        self._folder = folder
        self._objective = objective

    def begin(self, *, goes_on: bool = False) -> ProgramReports:
        """The reports of a new process."""
        trial = user_trial(self._folder, self.reporter, self._objective, note=self.notes.append)
        return ProgramReports(trial, goes_on=goes_on)

    @property
    def epochs(self) -> dict[int, Mapping[str, float]]:
        return {metrics.epoch: metrics.values for metrics in self.reporter.history}


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def record(epoch: int | None, *others: str, **values: float) -> Record:
    return Record(epoch, values, others)


def test_an_epoch_is_reported_with_all_that_was_told_of_it(tmp_path: Path) -> None:
    told = Told(tmp_path, BOTH)
    reports = told.begin()
    for each in (record(1, a=1.0), record(1, loss=0.5), record(1, size=2.0), record(2, loss=0.4)):
        reports.add(each)
    assert told.epochs == {1: {"a": 1.0, "loss": 0.5, "size": 2.0}}
    assert reports.missing() == "of epoch 2 it told loss, and not the objective's size"


def test_records_without_an_epoch_count(told: Told) -> None:
    reports = told.begin()
    for loss in (0.5, 0.4):
        reports.add(record(None, loss=loss))
    assert told.epochs == {1: {"loss": 0.5}, 2: {"loss": 0.4}}


def test_an_epoch_without_the_objective_is_no_report_and_that_is_said_once(told: Told) -> None:
    reports = told.begin()
    for epoch in (1, 2, 3):
        reports.add(record(epoch, train_loss=1.0))
    reports.add(record(4, loss=0.5))
    assert set(told.epochs) == {4}
    assert told.notes == [
        "train.command: of epoch 1 it told train_loss, and not the objective's loss; it is not "
        "reported"
    ]


def test_what_a_run_cannot_hold_is_left_out_and_that_is_said_once(told: Told) -> None:
    reports = told.begin()
    for epoch in (1, 2):
        reports.add(record(epoch, "phase", **{"loss": 0.5, "best_loss": 0.1, "top 5 @%": 1.0}))
    assert told.epochs == {1: {"loss": 0.5}, 2: {"loss": 0.5}}
    assert [note.partition(": ")[2] for note in told.notes] == [
        "what it tells of 'best_loss' is left out: sweeper writes a metric of that name itself; "
        "give it another one",
        "what it tells of 'top 5 @%' is left out: MLflow takes letters, digits, spaces and "
        "_ - . : / in a name alone",
        "what it tells of 'phase' is left out: is no number",
    ]


def test_the_same_told_twice_counts_once(told: Told) -> None:
    reports = told.begin()
    for each in (record(1, loss=0.5), record(1, loss=0.5), record(1, lr=0.1), record(2, loss=0.4)):
        reports.add(each)
    assert told.epochs == {1: {"loss": 0.5}, 2: {"loss": 0.4}}
    assert told.notes == ["train.command: what it tells of an epoch after loss is left out"]


@pytest.mark.parametrize("epoch", [1, 2])
def test_epochs_must_increase(told: Told, epoch: int) -> None:
    reports = told.begin()
    for each in (record(1, loss=0.5), record(2, loss=0.4)):
        reports.add(each)
    with pytest.raises(TrainingError, match=f"its epochs must increase, got {epoch} after 2; let"):
        reports.add(record(epoch, loss=0.3))


def test_epochs_from_0_are_reported_as_one_more_also_after_a_restart(told: Told) -> None:
    reports = told.begin()
    for epoch in (0, 1):
        reports.add(record(epoch, loss=0.5))
    told.begin(goes_on=True).add(record(2, loss=0.4))
    told.begin(goes_on=True).add(record(0, loss=0.9))
    assert told.epochs == {1: {"loss": 0.5}, 2: {"loss": 0.5}, 3: {"loss": 0.4}}
    said = "train.command: its epochs count from 0, so each is reported as one more"
    assert told.notes.count(said) == 1


def test_a_program_that_begins_again_is_reported_from_where_it_was(told: Told) -> None:
    told.begin().add(record(1, loss=0.5))
    reports = told.begin()
    for epoch in (1, 2):
        reports.add(record(epoch, loss=0.4))
    assert told.epochs == {1: {"loss": 0.5}, 2: {"loss": 0.4}}
    assert told.notes == [
        "train.command: a trial that was stopped begins again at epoch 1, as the command does "
        "not use ${trial.checkpoint}; epochs that are known stay as they are"
    ]


def test_so_is_one_that_could_go_on_and_it_is_told_how(told: Told) -> None:
    told.begin().add(record(1, loss=0.5))
    told.begin(goes_on=True).add(record(1, loss=0.5))
    assert told.notes == [
        "train.command: a trial that was stopped begins again at epoch 1, although the command "
        "uses ${trial.checkpoint}; words that let it go on belong into train.resume; epochs that "
        "are known stay as they are"
    ]


def test_one_that_goes_on_or_has_told_nothing_is_not_said_to_begin_again(told: Told) -> None:
    told.begin(goes_on=True).add(record(1, loss=0.5))
    told.begin(goes_on=True).add(record(2, loss=0.5))
    told.begin().add(record(3, loss=0.5))
    assert told.notes == []


def test_what_was_written_and_not_reported_is_reported_at_the_next_start(told: Told) -> None:
    told.begin().add(record(1, loss=0.5))
    reports = told.begin()
    reports.catch_up([record(1, loss=0.5), record(2, loss=0.4), record(None, loss=9.0)])
    for epoch in (1, 2, 3):
        reports.add(record(epoch, loss=0.3))
    assert told.epochs == {1: {"loss": 0.5}, 2: {"loss": 0.4}, 3: {"loss": 0.3}}


def test_signals_pass(told: Told) -> None:
    told.reporter.stop_after = 1
    with pytest.raises(TrialPruned):
        told.begin().add(record(1, loss=0.5))
