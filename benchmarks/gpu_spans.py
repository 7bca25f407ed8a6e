"""From a study's first step to its last trial's durable end, by the command that users type."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean

from contenders import clean_environment

import sweeper
from sweeper.commands.status import show_status
from sweeper.events import Ended, Event, read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics, TrialState

_LOOK_EVERY_S = 0.5
#: That a command has for its end when it is told to stop; what it still had to do was MLflow's.
_STOP_S = 5.0


@dataclass(frozen=True)
class Order:
    """A study to be run.

    Attributes:
        text: Of its file.
        name: Of the study.
        n_trials: That must end, all of them well.
        overrides: That the command lays over the file.
        n_epochs: Of each trial; None if a pruner decides.
    """

    text: str
    name: str
    n_trials: int
    overrides: Sequence[str] = ()
    n_epochs: int | None = None


@dataclass(frozen=True)
class Span:
    """What a study took.

    Attributes:
        seconds: From the start of the first epoch to the end of the last trial, when everything
            that MLflow is to have lies in the trials' folders.
        n_trials: That ended.
        n_epochs: Of all of them.
        seconds_a_trial: From one trial's end to the next one's, the mean; 0 of one trial alone.
        seconds_an_epoch: From one epoch's end to that of the next one of the same trial, the
            mean; 0 if no trial has two.
        ledger: Seconds of the workers, by what they went into, their start included.
    """

    seconds: float
    n_trials: int
    n_epochs: int
    seconds_a_trial: float
    seconds_an_epoch: float
    ledger: Mapping[str, float]


def run_span(
    order: Order,
    *,
    tree: Path,
    folder: Path,
    environment: Mapping[str, str],
    limit_s: float,
    printed: Path,
) -> Span:
    """Run a study until its last trial has ended, and stop the command then.

    Args:
        order: What to run.
        tree: Root of the version of sweeper that runs it.
        folder: Empty; in which it runs.
        environment: Of the command, beside that of this process.
        limit_s: After which it is killed.
        printed: Takes what it prints, behind what it has.

    Raises:
        TimeoutError: If it is.
        ValueError: If the command fails, or its trials are not what they should be.
    """
    file = folder / "study.yaml"
    file.write_text(order.text, encoding="utf-8")
    paths = RunPaths(folder / "mlruns", order.name)
    command = [sys.executable, "-P", "-m", "sweeper", "run", file.name, *order.overrides]
    with printed.open("a") as output:
        print("$", *command, file=output, flush=True)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**clean_environment(), "PYTHONPATH": str(tree), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_ends(process, paths, order.n_trials, time.monotonic() + limit_s)
        finally:
            _stop(process)
    found = _checked(order, logs_of(paths))
    status = show_status(sweeper.load(file).spec, paths.root, as_json=True)
    return span_of(found, json.loads(status)["seconds"])


def _await_ends(
    process: "subprocess.Popen[bytes]", paths: RunPaths, n_trials: int, until_s: float
) -> None:
    """Wait until so many trials have ended, or the command has."""
    while process.poll() is None and sum(map(_has_ended, logs_of(paths))) < n_trials:
        if time.monotonic() > until_s:
            raise TimeoutError
        time.sleep(_LOOK_EVERY_S)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the command and all that it started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def logs_of(paths: RunPaths) -> list[Sequence[Event]]:
    """The events of each trial."""
    return [read_events(paths.events(number))[0] for number in sorted(paths.trial_numbers())]


def _has_ended(log: Sequence[Event]) -> bool:
    return any(isinstance(event, Ended) for event in log)


def _checked(order: Order, logs: Sequence[Sequence[Event]]) -> list[Sequence[Event]]:
    """The logs of trials that ended, all of them well."""
    found = [log for log in logs if _has_ended(log)]
    states = [event.outcome.state for log in found for event in log if isinstance(event, Ended)]
    n_failed = states.count(TrialState.FAILED)
    if len(found) < order.n_trials or n_failed:
        raise ValueError(f"{len(found)} of {order.n_trials} trials ended, {n_failed} failed")
    lengths = {len(list(_epochs(log))) for log in found}
    if order.n_epochs is not None and lengths != {order.n_epochs}:
        raise ValueError(f"trials have {sorted(lengths)} epochs, not {order.n_epochs}")
    return found


def _epochs(log: Sequence[Event]) -> Iterator[EpochMetrics]:
    return (event for event in log if isinstance(event, EpochMetrics))


def span_of(logs: Sequence[Sequence[Event]], ledger: Mapping[str, float]) -> Span:
    """What trials took, by their event logs."""
    ends = sorted(event.time_s for log in logs for event in log if isinstance(event, Ended))
    epochs = [list(_epochs(log)) for log in logs]
    cycles = [after.time_s - before.time_s for each in epochs for before, after in pairwise(each)]
    begun_s = min(each.time_s - each.values["epoch_seconds"] for log in epochs for each in log)
    return Span(
        seconds=ends[-1] - begun_s,
        n_trials=len(logs),
        n_epochs=sum(map(len, epochs)),
        seconds_a_trial=(ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else 0.0,
        seconds_an_epoch=mean(cycles) if cycles else 0.0,
        ledger=ledger,
    )


def extrapolated(span: Span, *, n_trials: int, n_epochs: int, n_workers: int) -> float:
    """Seconds that a study with more trials, or longer ones, would have taken.

    Each further trial is counted as long as those after the first one took, so that what a process
    does once is counted once; each further epoch as long as those after a trial's first.

    Args:
        span: Of the shorter study, whose trials all have as many epochs.
        n_trials: Of the other one.
        n_epochs: Of each of its trials.
        n_workers: That train trials one by one, in both.
    """
    n_before = span.n_epochs // span.n_trials
    trials_s = (n_trials - span.n_trials) * span.seconds_a_trial
    epochs_s = n_trials * (n_epochs - n_before) / n_workers * span.seconds_an_epoch
    return span.seconds + trials_s + epochs_s
