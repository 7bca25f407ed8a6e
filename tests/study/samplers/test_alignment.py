"""What an earlier study measured becomes comparable with what this one does."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from sweeper.config.study import StudySpec
from sweeper.study.attributes import is_known
from sweeper.study.samplers.alignment import Alignment
from sweeper.study.warm_start import KnownTrial, WarmStart, known_trials
from tests.support.sweep_studies import spec_of

RATE = "train.learning_rate"
RATES = [0.001 * 1.2**n for n in range(25)]


def accuracy(rate: float) -> float:
    """With its top at 0.01."""
    return float(0.9 - 0.05 * math.log10(rate / 0.01) ** 2)


def trials_of(
    spec: StudySpec, values: Mapping[float, float], *, are_known: bool
) -> list[FrozenTrial]:
    known = [KnownTrial("complete", {RATE: r}, [v], {1: v / 2}) for r, v in values.items()]
    trials = known_trials(WarmStart("x", len(known), len(known), {}, known), spec)
    if not are_known:
        for number, trial in enumerate(trials):
            trial.number = number
    return trials


def aligned(
    spec: StudySpec,
    earlier: Callable[[float], float],
    own: Sequence[float],
    now: Callable[[float], float] = accuracy,
) -> list[FrozenTrial]:
    known = trials_of(spec, {rate: earlier(rate) for rate in RATES}, are_known=True)
    trials = trials_of(spec, {rate: now(rate) for rate in own}, are_known=False)
    moved = Alignment(spec, known).align([*known, *trials])
    assert moved[-len(trials) or len(moved) :] == trials
    return [trial for trial in moved if is_known(trial)]


def off(trials: Sequence[FrozenTrial]) -> float:
    """How far they are from what this study would have measured, at worst."""
    return max(abs(float(t.values[0]) - accuracy(t.params[RATE])) for t in trials)


def test_what_is_better_or_worse_throughout_is_moved(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    assert off(aligned(spec, lambda rate: accuracy(rate) - 0.3, [])) == pytest.approx(0.3)
    for own in ([0.02], [0.02, 0.004], [0.03, 0.02, 0.004]):
        moved = aligned(spec, lambda rate: accuracy(rate) - 0.3, own)
        assert off(moved) < 0.005
        # Half of a value is not half as far: all is moved alike, curves too.
        for trial, rate in zip(moved, RATES, strict=True):
            assert trial.intermediate_values[1] == pytest.approx(
                (accuracy(rate) - 0.3) / 2 + 0.3, abs=0.005
            )


def test_one_that_is_far_off_does_no_harm(tmp_path: Path) -> None:
    def now(rate: float) -> float:
        return 0.1 if rate == 0.02 else accuracy(rate)

    moved = aligned(spec_of(tmp_path), lambda rate: accuracy(rate) - 0.3, [0.02, 0.01, 0.03], now)
    assert off(moved) < 0.01


def test_the_metric_of_this_study_may_be_minimised(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, objective={"metric": "val_loss", "direction": "minimize"})
    moved = aligned(spec, lambda rate: 5 - accuracy(rate), [0.02], lambda rate: 1 - accuracy(rate))
    best = min(moved, key=lambda trial: trial.values[0])
    assert best.values[0] == pytest.approx(0.1, abs=0.005)
    assert best.params[RATE] == pytest.approx(0.01, rel=0.2)


def test_each_of_several_metrics_is_moved_by_itself(tmp_path: Path) -> None:
    objective: Any = {
        "metric": ["val_accuracy", "val_loss"],
        "direction": ["maximize", "minimize"],
    }
    spec = spec_of(tmp_path, objective=objective)
    known = trials_of(spec, dict.fromkeys(RATES, 0.0), are_known=True)
    own = trials_of(spec, {0.01: 0.0}, are_known=False)
    for trial in [*known, *own]:
        good = accuracy(trial.params[RATE])
        trial.values = [good, 1 - good] if trial in own else [good - 0.2, 3 - good]
    moved = Alignment(spec, known).align([*known, *own])
    for trial in moved[: len(known)]:
        good = accuracy(trial.params[RATE])
        assert trial.values == pytest.approx([good, 1 - good], abs=0.005)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_to_expect_anything_of_are_left_as_they_are(tmp_path: Path, n: int) -> None:
    spec = spec_of(tmp_path)
    known = trials_of(spec, dict.fromkeys(RATES[:n], 0.5), are_known=True)
    own = trials_of(spec, {0.01: 0.9}, are_known=False)
    assert Alignment(spec, known).align([*known, *own]) == [*known, *own]


def test_all_alike_and_one_that_diverged(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    known = [KnownTrial("complete", {RATE: rate}, [0.5], {}) for rate in RATES]
    known.append(KnownTrial("diverged", {RATE: 0.1}, [], {}))
    shown = known_trials(WarmStart("x", 1, 1, {}, known), spec)
    own = trials_of(spec, {0.01: 0.9}, are_known=False)
    *moved, diverged, _ = Alignment(spec, shown).align([*shown, *own])
    assert [trial.values for trial in moved] == [[pytest.approx(0.9)]] * len(RATES)
    assert diverged.values is None


def test_an_earlier_study_that_says_the_contrary_is_left_out(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    own = RATES[::6]
    assert len(own) == 5
    assert aligned(spec, lambda rate: 0.9 - accuracy(rate), own) == []
    for few, earlier in [(own[:4], lambda rate: 0.9 - accuracy(rate)), (own, lambda rate: rate)]:
        assert len(aligned(spec, earlier, few)) == len(RATES)
