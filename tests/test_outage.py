import pytest

from sweeper.errors import StoreError, StudyError
from sweeper.outage import BEAR_S, CALM_S, MOST_BOUTS, Outage

FULL = StoreError("the disk is full")
ONCE = ["the disk is full\nTrying again for 60 s ..."]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def patience(notes: list[str], clock: Clock) -> Outage:
    return Outage(notes.append, clock)


def test_trouble_is_told_once_and_raised_when_it_has_lasted_too_long(
    patience: Outage, notes: list[str], clock: Clock
) -> None:
    while clock.now_s <= BEAR_S:
        patience.bear(FULL, n_finished=0)
        patience.look()
        clock.now_s += CALM_S / 2
    with pytest.raises(StoreError, match="the disk is full"):
        patience.bear(FULL, n_finished=0)
    assert notes == ONCE


def test_trouble_is_over_when_all_is_done(patience: Outage, notes: list[str]) -> None:
    patience.settle()
    patience.bear(FULL, n_finished=0)
    patience.look()
    patience.settle()
    patience.settle()
    assert notes == [*ONCE, "disk and storage work again"]


def test_trouble_that_is_over_is_told_and_forgotten(
    patience: Outage, notes: list[str], clock: Clock
) -> None:
    patience.look()
    patience.bear(FULL, n_finished=0)
    assert patience.is_tried
    clock.now_s = CALM_S
    patience.look()
    assert notes == ONCE
    clock.now_s += 1
    patience.look()
    patience.look()
    assert not patience.is_tried
    assert notes == [*ONCE, "disk and storage work again"]
    clock.now_s += BEAR_S
    patience.bear(FULL, n_finished=0)
    assert notes == [*ONCE, "disk and storage work again", *ONCE]


@pytest.mark.parametrize(("gain", "is_borne"), [(0, False), (1, True)])
def test_trouble_that_comes_back_is_borne_as_long_as_trials_get_to_their_end(
    patience: Outage, clock: Clock, gain: int, is_borne: bool
) -> None:
    for bout in range(MOST_BOUTS):
        patience.bear(FULL, n_finished=bout * gain)
        clock.now_s += CALM_S + 1
        patience.look()
    if is_borne:
        patience.bear(FULL, n_finished=MOST_BOUTS)
    else:
        with pytest.raises(StudyError, match="It came back 10 times, and no trial ended"):
            patience.bear(FULL, n_finished=0)
