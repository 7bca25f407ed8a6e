from typing import Any

import pytest

from sweeper.training.schedules import Schedule


def rates(schedule: Schedule) -> list[float]:
    return [schedule.rate_at(step) for step in range(schedule.total_steps)]


def test_a_constant_rate_after_a_ramp() -> None:
    schedule = Schedule("constant", peak=0.4, total_steps=6, warmup_steps=3)
    assert rates(schedule) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4], abs=1e-12)


def test_half_a_cosine_after_a_ramp() -> None:
    schedule = Schedule("cosine", peak=1.0, total_steps=5, warmup_steps=1)
    # 1 + cos(pi * k / 4) over 2, for k = 0..3
    expected = [0.5, 1.0, 0.853553, 0.5, 0.146447]
    assert rates(schedule) == pytest.approx(expected, abs=1e-6)


def test_a_step_schedule_drops_at_multiples() -> None:
    schedule = Schedule("step", peak=8.0, total_steps=6, drop_steps=2, drop_factor=0.5)
    assert rates(schedule) == [8.0, 8.0, 4.0, 4.0, 2.0, 2.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"warmup_steps": 4},
        {"warmup_steps": -1},
        {"peak": 0.0},
        {"drop_steps": 0},
        {"drop_factor": 0.0},
        {"drop_factor": 1.1},
    ],
)
def test_a_schedule_out_of_bounds_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be in|out of bounds"):
        Schedule(**{**dict[str, Any](name="constant", peak=1.0, total_steps=4), **wrong})
