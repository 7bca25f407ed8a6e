"""What storage and event log have of a trial, and where they contradict each other."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.study.conclude import conclude
from sweeper.study.recorded_trial import read_recorded_trial
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.timing import TimeLedger
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    PRUNED,
    begin_in_memory,
    claim_trial,
    epoch,
    reports,
    run_trial,
)

Line = dict[str, Any]


def finished(folder: Path, *accuracies: float) -> SweepStudy:
    """A study whose trial 0 measured these, with its settings and seed in its log."""
    study = begin_in_memory(folder, budget={"trials": 2})
    trial = claim_trial(study)
    assert trial is not None

    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as held:

        def body() -> Iterator[None]:
            config = held.draw()
            held.start(None, None, params={}, tags={"seed": str(config.seed), "device": "cpu"})
            reports(*accuracies)(held)
            yield

        conclude(held, body())
    return study


def rewrite(study: SweepStudy, event: str, change: Callable[[Line], object]) -> None:
    """Change each line of that kind in the log of trial 0."""
    path = study.paths.events(0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["event"] == event:
            change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def put(path: str, value: object) -> Callable[[Line], object]:
    """Put a value into a line where ``a/b`` says."""

    def change(line: Line) -> None:
        *way, last = path.split("/")
        for key in way:
            line = line[key]
        line[last] = value

    return change


def test_what_was_drawn_where_it_ran_and_what_it_measured(tmp_path: Path) -> None:
    study = finished(tmp_path, 0.5, 0.7, 0.6)
    trial = read_recorded_trial(study, 0)
    assert trial.state == TrialState.COMPLETE
    assert (
        trial.config.params["train.learning_rate"]
        == study.trials()[0].params["train.learning_rate"]
    )
    assert [each.values["val_accuracy"] for each in trial.history] == [0.5, 0.7, 0.6]
    assert (trial.tags("device"), trial.tags("host")) == (["cpu"], [])
    assert trial.faults == ()


def test_a_log_that_is_elsewhere_is_no_contradiction(tmp_path: Path) -> None:
    study = finished(tmp_path, 0.5)
    study.paths.events(0).unlink()
    trial = read_recorded_trial(study, 0)
    assert (trial.starts, trial.history, trial.faults) == ((), (), ())


def test_metrics_that_are_no_numbers_are_no_contradiction(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 1})
    run_trial(study, lambda trial: trial.report(epoch(1, 0.5, val_auroc=math.nan)))
    assert read_recorded_trial(study, 0).faults == ()


@pytest.mark.parametrize("body", [PRUNED, reports(math.nan), reports(0.5, math.nan)])
def test_nor_are_ends_without_a_value(
    tmp_path: Path, body: Callable[[RunningTrial], None]
) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 1})
    run_trial(study, body)
    assert read_recorded_trial(study, 0).faults == ()


@pytest.mark.parametrize(
    ("event", "path", "value", "faults"),
    [
        (
            "EpochMetrics",
            "values/val_accuracy",
            0.25,
            (
                "the epoch that counts by the end of its event log is not the best one in there",
                "val_accuracy is 0.5 in the storage and 0.25 in its event log",
            ),
        ),
        (
            "EpochMetrics",
            "values",
            {"other": 1.0},
            (
                "the epoch that counts by the end of its event log is not the best one in there",
                "val_accuracy is 0.5 in the storage and absent from its event log",
            ),
        ),
        (
            "Ended",
            "outcome/best/values/val_accuracy",
            0.99,
            ("the epoch that counts by the end of its event log is not the best one in there",),
        ),
        (
            "Started",
            "params",
            {"train.epochs": 30, "train.new": 1},
            ("train.epochs is 30 in its event log and 3 in the storage",),
        ),
        (
            "Started",
            "tags/seed",
            "5",
            ("its seed is 5 in its event log and {seed} by the study file",),
        ),
    ],
)
def test_what_was_changed_is_found(
    tmp_path: Path, event: str, path: str, value: object, faults: tuple[str, ...]
) -> None:
    study = finished(tmp_path, 0.5)
    rewrite(study, event, put(path, value))
    trial = read_recorded_trial(study, 0)
    assert trial.faults == tuple(fault.format(seed=trial.config.seed) for fault in faults)


def test_what_one_process_reported_once_more_counts_once(tmp_path: Path) -> None:
    study = finished(tmp_path, 0.5, 0.6)
    path = study.paths.events(0)
    first, *_ = (line for line in path.read_text().splitlines() if "EpochMetrics" in line)
    path.write_text(path.read_text() + first.replace("0.5", "0.9") + "\n")
    assert [each.values["val_accuracy"] for each in history(study)] == [0.5, 0.6]


def history(study: SweepStudy) -> tuple[Any, ...]:
    return read_recorded_trial(study, 0).history
