"""A trial that a program of the user's own trains: ``train.command``."""

import errno
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sweeper.config.command import (
    fill,
    fill_command,
    further_arguments,
    named_values,
    split_command,
    used_names,
)
from sweeper.config.settings import CommandConfig, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.errors import DISK_FULL, ProgramError, TrainingError, TrialInterrupted
from sweeper.text import redacted
from sweeper.timing import Entry
from sweeper.training.program import End, Program
from sweeper.training.program_output import printed_before
from sweeper.training.program_records import JsonLines, MetricsFile, Record, Words
from sweeper.training.program_reports import ProgramReports
from sweeper.training.user_trial import UserTrial

log = logging.getLogger("sweeper")

_CHECKPOINT = "trial.checkpoint"
#: Variables of those who have activated an environment of Python's.
_ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX")
#: A file is looked at so often, and seldom enough that reading it takes a tenth of the time.
_LOOK_S = 0.2
_SHARE = 10
#: Which end a program when its whole job is told to stop. It may hear of that before we do.
_STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_HEARSAY_S = 1.0


def run_command(spec: StudySpec, config: TrialConfig, trial: UserTrial) -> None:
    """Run the program to its end and report the epochs that it tells.

    When the trial ends before, or must leave this process, its process group is sent SIGTERM, and
    what is left of it after :data:`~sweeper.training.program.GRACE_S` is killed.

    Args:
        spec: The study.
        config: Of the trial.
        trial: The trial.

    Raises:
        TrainingError: If the program cannot be started, tells what is no report, or tells nothing.
        ProgramError: If it ends otherwise than with exit code 0.
        TrialInterrupted: If the process must stop; what the program told till then is reported.
        TrialPruned, TrialDiverged, TrialLost: From the reporter.
    """
    assert isinstance(config.train, CommandConfig)
    command = config.train
    values = named_values(spec.sections, config.params) | _trial_values(trial)
    argv = _arguments(spec, config, values)
    log.info("trial %d: %s", trial.number, redacted(shlex.join(argv)))
    folder = trial.paths.printed(trial.number)
    source = _source(command, values, folder)
    reports = ProgramReports(trial, goes_on=_can_go_on(command))
    reports.catch_up(source.earlier())
    with (
        trial.reporter.ledger.booked(Entry.STEP),
        Program(argv, os.environ | environment(spec, trial), folder, trial.note) as program,
    ):
        for lines in program.output():
            if trial.is_stopping():
                program.ask_to_end()
            _report(source.read(lines), reports, trial)
        end = program.end()
        _report(source.rest(), reports, trial)
    _judge(end, argv[0], trial, reports.missing() or source.missing())


def _arguments(spec: StudySpec, config: TrialConfig, values: Mapping[str, Any]) -> list[str]:
    """The program and its arguments."""
    assert isinstance(config.train, CommandConfig)
    words = split_command(config.train.command)
    argv = fill_command(words, values)
    if config.train.args == "auto":
        argv += further_arguments(spec, words, config.params)
    if config.train.resume is not None:
        argv += _resume_arguments(split_command(config.train.resume), values)
    return argv


def _resume_arguments(words: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Those of a program that can go on: none before all that they name is there."""
    folder = str(values[_CHECKPOINT])
    filled = fill_command(words, values)
    paths = [word[word.index(folder) :] for word in filled if folder in word] or [folder]
    return filled if all(_holds_something(Path(path)) for path in paths) else []


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _can_go_on(command: CommandConfig) -> bool:
    """Whether the program is told where it finds what it has saved."""
    return command.resume is not None or _CHECKPOINT in used_names(split_command(command.command))


def _trial_values(trial: UserTrial) -> dict[str, Any]:
    """What ``${trial.NAME}`` stands for, by dotted name."""
    return {
        _CHECKPOINT: trial.checkpoint.absolute(),
        "trial.device": trial.device,
        "trial.number": trial.number,
        "trial.seed": trial.seed,
    }


def environment(spec: StudySpec, trial: UserTrial) -> dict[str, str]:
    """What a program finds in its environment beside what the worker has there.

    Where no environment of Python's is active, that of sweeper is, whose ``python`` is meant then.
    """
    path, own = os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)
    is_own = not any(name in os.environ for name in _ACTIVE) and own not in path.split(os.pathsep)
    return {
        "PATH": f"{own}{os.pathsep}{path}" if is_own else path,
        "SWEEPER_STUDY": spec.name,
        "SWEEPER_TRIAL": str(trial.number),
        "SWEEPER_SEED": str(trial.seed),
        "SWEEPER_DEVICE": str(trial.device),
        "SWEEPER_CHECKPOINT": str(trial.checkpoint.absolute()),
        "PYTHONUNBUFFERED": "1",  # else what Python prints comes when it ends
    }


class _Source(Protocol):
    """Where a program tells its epochs."""

    def earlier(self) -> Iterator[Record]:
        """What an earlier process of the program told."""

    def read(self, lines: list[str]) -> Iterator[Record]:
        """What has been told since the last call; ``lines`` are what was printed since."""

    def rest(self) -> Iterator[Record]:
        """What is told by the end of the program."""

    def missing(self) -> str:
        """Why nothing may have been told, in words."""


class _Output:
    """The lines that it prints."""

    def __init__(self, command: CommandConfig, folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._reader = self._new_reader()

    def _new_reader(self) -> JsonLines | Words:
        report = self._command.report
        return JsonLines() if report is None else Words(report)

    def earlier(self) -> Iterator[Record]:
        return filter(None, map(self._new_reader().read, printed_before(self._folder)))

    def read(self, lines: list[str]) -> Iterator[Record]:
        return filter(None, map(self._reader.read, lines))

    def rest(self) -> Iterator[Record]:
        return iter(())

    def missing(self) -> str:
        if isinstance(self._reader, Words) and (unmet := self._reader.unmet):
            return f"no line of its output matches train.report.{unmet[0]}"
        return 'no line of its output is a JSON object such as {"epoch": 1, "loss": 0.5}'


class _File:
    """A file that it writes."""

    def __init__(self, file: MetricsFile) -> None:
        self._file = file
        self._due_s = 0.0

    def earlier(self) -> Iterator[Record]:
        return self._file.read(is_whole=False)

    def read(self, lines: list[str]) -> Iterator[Record]:
        begun_s = time.monotonic()
        if begun_s >= self._due_s:
            yield from self._file.read(is_whole=False)
            took_s = time.monotonic() - begun_s
            self._due_s = begun_s + max(_LOOK_S, _SHARE * took_s)

    def rest(self) -> Iterator[Record]:
        return self._file.read(is_whole=True)

    def missing(self) -> str:
        path = self._file.path
        return f"no row of {path} is whole" if path.exists() else f"it wrote no {path}"


def _source(command: CommandConfig, values: Mapping[str, Any], folder: Path) -> _Source:
    if command.metrics is None:
        return _Output(command, folder)
    path = fill(command.metrics, values)
    if path is None:
        raise TrainingError("train.metrics: names a value that this trial does not have")
    return _File(MetricsFile(Path(path)))


def _report(records: Iterator[Record], reports: ProgramReports, trial: UserTrial) -> None:
    """Report them; while the process stops, all that come until the program's end."""
    for record in records:
        try:
            reports.add(record)
        except TrialInterrupted:
            if not trial.is_stopping():
                raise


def _judge(end: End, name: str, trial: UserTrial, missing: str) -> None:
    """Raise what a program's end means; nothing if the trial is complete."""
    if end.signal in _STOPPING:
        _await_stop(trial)
    if trial.is_stopping() and (trial.is_broken_off or end.code != 0):
        raise TrialInterrupted("stopped, and its program has ended")
    if end.code == 0 and trial.history:
        return
    if end.code == 0:
        raise TrainingError(f"train.command: {name} ended without a report: {missing}")
    if any(os.strerror(number) in end.tail for number in DISK_FULL):
        raise OSError(errno.ENOSPC, f"train.command: {name} {end}")  # it is not the trial's fault
    raise ProgramError(f"train.command: {name} {end}", end.tail, is_killed=end.signal is not None)


def _await_stop(trial: UserTrial) -> None:
    deadline_s = time.monotonic() + _HEARSAY_S
    while not trial.is_stopping() and time.monotonic() < deadline_s:
        time.sleep(0.01)
