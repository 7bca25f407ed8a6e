import pytest

from sweeper.errors import StoreError, StudyError, TrackerError
from sweeper.outage import BEAR_S, CALM_S, MOST_BOUTS, Outage, storage_outage
from tests.support.clock import Clock

FULL = StoreError("the disk is full")
AWAY = TrackerError("MLflow is away")
ONCE = ["the disk is full\nTrying again for 60 s ..."]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def outage(notes: list[str], clock: Clock) -> Outage:
    return storage_outage(notes.append, clock)


def test_trouble_is_told_once_and_raised_when_it_has_lasted_too_long(
    outage: Outage, notes: list[str], clock: Clock
) -> None:
    while clock.now_s <= BEAR_S:
        outage.bear(FULL, n_finished=0)
        outage.look()
        clock.now_s += CALM_S / 2
    with pytest.raises(StoreError, match="the disk is full"):
        outage.bear(FULL, n_finished=0)
    assert notes == ONCE


def test_trouble_is_over_when_all_is_done(outage: Outage, notes: list[str]) -> None:
    outage.end()
    outage.bear(FULL, n_finished=0)
    outage.look()
    outage.end()
    outage.end()
    assert notes == [*ONCE, "disk and storage work again"]


def test_trouble_that_is_over_is_told_and_forgotten(
    outage: Outage, notes: list[str], clock: Clock
) -> None:
    outage.look()
    outage.bear(FULL, n_finished=0)
    assert outage.is_on
    clock.now_s = CALM_S
    outage.look()
    assert notes == ONCE
    clock.now_s += 1
    outage.look()
    outage.look()
    assert not outage.is_on
    assert notes == [*ONCE, "disk and storage work again"]
    clock.now_s += BEAR_S
    outage.bear(FULL, n_finished=0)
    assert notes == [*ONCE, "disk and storage work again", *ONCE]


@pytest.mark.parametrize(("gain", "is_borne"), [(0, False), (1, True)])
def test_trouble_that_comes_back_is_borne_as_long_as_trials_get_to_their_end(
    outage: Outage, clock: Clock, gain: int, is_borne: bool
) -> None:
    for bout in range(MOST_BOUTS):
        outage.bear(FULL, n_finished=bout * gain)
        clock.now_s += CALM_S + 1
        outage.look()
    if is_borne:
        outage.bear(FULL, n_finished=MOST_BOUTS)
    else:
        with pytest.raises(StudyError, match="It came back 10 times, and no trial ended"):
            outage.bear(FULL, n_finished=0)


def test_trouble_without_limits_is_borne_for_ever_and_over_at_the_first_success(
    notes: list[str], clock: Clock
) -> None:
    outage = Outage(notes.append, meanwhile="Training goes on", over="it answers", now=clock)
    for _ in range(2 * MOST_BOUTS):
        notes.clear()
        outage.end()
        assert notes == []
        for _ in range(3):
            outage.bear(AWAY)
            assert outage.is_on
            clock.now_s += 2 * BEAR_S
        assert notes == ["MLflow is away\nTraining goes on"]
        outage.end()
        assert not outage.is_on
        assert notes == ["MLflow is away\nTraining goes on", "it answers"]


def test_where_nothing_is_to_be_said_of_its_end_it_ends_all_the_same(notes: list[str]) -> None:
    outage = Outage(notes.append, meanwhile="It stays for now")
    for _ in range(2):
        outage.bear(FULL)
        outage.end()
    assert notes == ["the disk is full\nIt stays for now"] * 2
