import math
from typing import Any

import pytest
import torch

from sweeper.errors import TrainingError
from sweeper.training.schedules import OwnSchedule, Schedule


def rates(schedule: Schedule) -> list[float]:
    return [schedule.rate_at(step) for step in range(schedule.total_steps)]


def rates_of_torch(total_steps: int, pct_start: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.4, total_steps=total_steps, pct_start=pct_start, cycle_momentum=False
    )
    found = []
    for step in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < total_steps - 1:
            schedule.step()
    return found


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


@pytest.mark.parametrize(
    ("total_steps", "warmup_steps", "pct_start"), [(4, 0, 0.3), (50, 0, 0.3), (40, 10, 0.25)]
)
def test_onecycle_has_the_rates_of_torch(
    total_steps: int, warmup_steps: int, pct_start: float
) -> None:
    schedule = Schedule("onecycle", peak=0.4, total_steps=total_steps, warmup_steps=warmup_steps)
    assert rates(schedule) == pytest.approx(rates_of_torch(total_steps, pct_start), rel=1e-9)


@pytest.mark.parametrize("total_steps", [1, 2, 3])
def test_of_few_updates_onecycle_gives_the_first_the_peak(total_steps: int) -> None:
    found = rates(Schedule("onecycle", peak=0.4, total_steps=total_steps))
    assert found[0] == 0.4
    assert found[1:] == sorted(found[1:], reverse=True)
    assert all(rate > 0 for rate in found)


def halves(step: int, total_steps: int) -> torch.Tensor:
    return torch.tensor(1.0 if step < total_steps / 2 else 0.0)


def test_an_own_schedule_is_a_factor_of_the_ramp() -> None:
    schedule = OwnSchedule(f"{__name__}:halves", peak=0.4, total_steps=6, warmup_steps=1)
    found = [schedule.rate_at(step) for step in range(8)]  # two more than there are
    assert found == [0.2, 0.4, 0.4, 0, 0, 0, 0, 0]


def falls_below(step: int, total_steps: int) -> float:
    return 1 - 2 * step / total_steps


def is_nan(step: int, total_steps: int) -> float:
    return math.nan


def says_nothing(step: int, total_steps: int) -> None:
    return None


def takes_one(step: int) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("falls_below", "for update 3 of 4, must return a factor .* finite and >= 0, got -0.5"),
        ("is_nan", "for update 0 of 4, must return .*, got nan"),
        ("says_nothing", "for update 0 of 4, must return .*, got None"),
        ("takes_one", r"for update 0 of 4, raised TypeError: takes_one\(\) takes 1 positional"),
    ],
)
def test_what_is_no_factor_is_told_before_any_training(name: str, message: str) -> None:
    with pytest.raises(TrainingError, match=f"train.schedule: .*{name}, {message}"):
        OwnSchedule(f"{__name__}:{name}", peak=1.0, total_steps=4)
