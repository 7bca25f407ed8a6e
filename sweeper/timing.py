"""Where the time of trials goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain


class Entry(StrEnum):
    """What a worker can spend its time on, in the order in which people are shown it."""

    STEP = "step"  # training updates; of a user's function, all that is nothing else
    EVALUATE = "evaluate"
    DATA = "data"  # loading, and bringing batches to the device
    MODEL = "model"  # building model and optimiser
    CHECKPOINT = "checkpoint"
    REPORT = "report"  # to event log and storage, the pruner's judgement, the trial's end
    IMPORT = "import"  # of the user's own modules
    CLAIM = "claim"  # looking for a trial, drawing its settings
    START = "start"  # of the process, until it looks for its first trial
    WAITING = "waiting"  # for a trial, or for room on the device
    UNEXPLAINED = "unexplained"


#: What a plain training script spends its time on as well.
_WORK = (Entry.STEP, Entry.EVALUATE, Entry.DATA, Entry.MODEL, Entry.IMPORT)
#: What passes before a trial has begun.
_BEFORE = (Entry.CLAIM, Entry.START, Entry.WAITING)


class TimeLedger:
    """Books every moment of one worker under one entry, for the trial that it is at work on.

    What passes between two trials belongs to the second one. A worker that trains several at once
    has a ledger for each of them beside its own, of which one runs at a time. For one thread.

    Args:
        start_s: Seconds that the process took to come here, >= 0.
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, start_s: float = 0.0, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._seconds: defaultdict[str, float] = defaultdict(float, {Entry.START: start_s})
        self._entry = Entry.UNEXPLAINED
        self._since_s = now()

    @contextmanager
    def booked(self, entry: Entry) -> Iterator[None]:
        """Book the time inside under an entry, less what is booked under others within."""
        before = self._switch(entry)
        try:
            yield
        finally:
            self._switch(before)

    def take(self) -> dict[str, float]:
        """Seconds by entry since the last call; those without time are left out."""
        self._switch(self._entry)
        taken, self._seconds = self._seconds, defaultdict(float)
        return {entry.value: round(taken[entry], 6) for entry in Entry if taken[entry]}

    def hand_over(self, others: Sequence["TimeLedger"]) -> None:
        """Book all since the last call for others, that stand still, in equal parts.

        Args:
            others: Of trials that begin; if there is none, it stays here.
        """
        self._switch(self._entry)
        for other in others:
            for entry, spent in self._seconds.items():
                other._seconds[entry] += spent / len(others)
        if others:
            self._seconds.clear()

    @contextmanager
    def lent_to(self, other: "TimeLedger") -> Iterator[None]:
        """Let another ledger run within a ``with`` block, and this one stand still."""
        self._switch(self._entry)
        other._since_s = self._since_s
        try:
            yield
        finally:
            other._switch(other._entry)
            self._since_s = other._since_s

    @contextmanager
    def shared_by(self, others: Sequence["TimeLedger"]) -> Iterator[None]:
        """Let others, that stand still, count equal parts of the time in a ``with`` block."""
        self._switch(self._entry)
        begun_s = self._since_s
        try:
            yield
        finally:
            self._since_s = self._now()
            for other in others:
                other._seconds[other._entry] += (self._since_s - begun_s) / len(others)

    def _switch(self, entry: Entry) -> Entry:
        now_s, before = self._now(), self._entry
        self._seconds[before] += now_s - self._since_s
        self._entry, self._since_s = entry, now_s
        return before


def add_seconds(*ledgers: Mapping[str, float]) -> dict[str, float]:
    """Seconds by entry over several takes, the longest first."""
    total: defaultdict[str, float] = defaultdict(float)
    for entry, spent in chain.from_iterable(seconds.items() for seconds in ledgers):
        total[entry] += spent
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def seconds_at_work(seconds: Mapping[str, float]) -> float:
    """Those of a trial from when a process took it on, by all processes that had it in turn."""
    return sum(spent for entry, spent in seconds.items() if entry not in _BEFORE)


def harness_share(seconds: Mapping[str, float]) -> float | None:
    """The share that a plain training script would not have spent, in [0, 1]; None of no time.

    That is all but updates, evaluation, data and the building of models. What is unexplained
    counts as the harness's.
    """
    total = sum(seconds.values())
    work = sum(seconds.get(entry, 0.0) for entry in _WORK)
    return 1 - work / total if total else None


def render_seconds(seconds: Mapping[str, float]) -> str:
    """``step 80 %, data 12 %, ...; harness 3 %``: what took a thousandth or more."""
    total = sum(seconds.values())
    if not total:
        return "nothing measured yet"
    shares = ((name, spent / total) for name, spent in add_seconds(seconds).items())
    parts = [f"{name} {share:.1%}" for name, share in shares if share >= 0.001]
    return f"{', '.join(parts)}; harness {harness_share(seconds):.1%}"
