"""sweeper.timing."""

from collections.abc import Iterator

import pytest

from sweeper.timing import Entry, TimeLedger, add_seconds, harness_share, render_seconds
from tests.support.clock import Clock


def test_time_is_booked_once_to_the_innermost_entry() -> None:
    clock = Clock(100.0)
    ledger = TimeLedger(now=clock)
    clock.now_s += 1
    with ledger.booked(Entry.STEP):
        clock.now_s += 10
        with ledger.booked(Entry.DATA):
            clock.now_s += 100
        clock.now_s += 20
    clock.now_s += 2
    assert ledger.take() == {"step": 30, "data": 100, "unexplained": 3}


def test_an_exception_ends_an_entry() -> None:
    clock = Clock(100.0)
    ledger = TimeLedger(now=clock)

    def fail() -> None:
        with ledger.booked(Entry.REPORT):
            clock.now_s += 4
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    clock.now_s += 1
    assert ledger.take() == {"report": 4, "unexplained": 1}


def test_taking_in_the_middle_of_an_entry_splits_it() -> None:
    clock = Clock(100.0)
    ledger = TimeLedger(start_s=2.5, now=clock)
    with ledger.booked(Entry.REPORT):
        clock.now_s += 1
        assert ledger.take() == {"report": 1, "start": 2.5}
        clock.now_s += 8
    assert ledger.take() == {"report": 8}


def test_seconds_add_up_the_longest_first() -> None:
    total = add_seconds({"step": 1, "claim": 5}, {}, {"step": 9})
    assert list(total.items()) == [("step", 10), ("claim", 5)]


def test_the_harness_is_all_that_a_plain_script_would_not_spend() -> None:
    seconds = {"step": 60, "evaluate": 10, "data": 5, "model": 5, "report": 15, "unexplained": 5}
    assert harness_share(seconds) == pytest.approx(0.2)
    assert harness_share({"start": 3}) == 1
    assert harness_share({}) is None


def test_a_line_leaves_out_what_is_below_a_thousandth() -> None:
    seconds = {"claim": 0.02, "step": 90, "start": 9.95, "data": 0.03}
    assert render_seconds(seconds) == "step 90.0%, start 9.9%; harness 10.0%"
    assert render_seconds({}) == "nothing measured yet"


def test_of_several_trials_each_is_booked_what_it_was_at_work() -> None:
    clock = Clock(100.0)
    worker = TimeLedger(start_s=3, now=clock)
    first, second = TimeLedger(now=clock), TimeLedger(now=clock)
    with worker.booked(Entry.CLAIM):
        clock.now_s += 1
        worker.hand_over([first])
        clock.now_s += 2
        worker.hand_over([])
        worker.hand_over([second])

    def work(ledger: TimeLedger) -> Iterator[None]:
        with ledger.booked(Entry.STEP):
            clock.now_s += 10
            yield
            clock.now_s += 20

    lanes = [(first, work(first)), (second, work(second))]
    for _ in range(2):
        for ledger, steps in lanes:
            clock.now_s += 100
            with worker.lent_to(ledger):
                next(steps, None)
    taken = []
    for ledger, _ in lanes:
        with worker.lent_to(ledger):
            taken.append(ledger.take())
    assert taken == [{"step": 30, "claim": 1, "start": 3}, {"step": 30, "claim": 2}]
    assert worker.take() == {"unexplained": 400}


def test_what_is_done_for_several_at_once_is_booked_to_each_in_equal_parts() -> None:
    clock = Clock(100.0)
    worker, first, second = (TimeLedger(now=clock) for _ in range(3))

    def wait_in(ledger: TimeLedger, entry: Entry) -> Iterator[None]:
        with ledger.booked(entry):
            yield

    waiting = wait_in(first, Entry.STEP), wait_in(second, Entry.EVALUATE)
    for ledger, steps in zip((first, second), waiting, strict=True):
        with worker.lent_to(ledger):
            next(steps)
    clock.now_s += 5
    with worker.shared_by([first, second]):
        clock.now_s += 8
    clock.now_s += 1
    taken = []
    for ledger in (first, second):
        with worker.lent_to(ledger):
            taken.append(ledger.take())
    assert taken == [{"step": 4}, {"evaluate": 4}]
    assert worker.take() == {"unexplained": 6}


def test_what_was_done_for_several_trials_is_booked_for_them_in_equal_parts() -> None:
    clock = Clock(100.0)
    worker = TimeLedger(start_s=3, now=clock)
    others = [TimeLedger(now=clock) for _ in range(3)]
    with worker.booked(Entry.CLAIM):
        clock.now_s += 6
        worker.hand_over(others)
    assert worker.take() == {}
    for other in others:
        with worker.lent_to(other):
            assert other.take() == {"claim": 2, "start": 1}
