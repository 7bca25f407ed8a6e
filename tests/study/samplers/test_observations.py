import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.study.samplers.observations import (
    MOST_OBSERVATIONS,
    observe,
    observe_several,
    rank,
    warp,
)

Curve = dict[int, float]


def trial(number: int, state: TrialState, curve: Curve, value: float | None = None) -> FrozenTrial:
    made = create_trial(state=state, value=value, intermediate_values=curve)
    made.number = number
    return made


def complete(number: int, curve: Curve) -> FrozenTrial:
    return trial(number, TrialState.COMPLETE, curve, min(curve.values()))


def pruned(number: int, curve: Curve) -> FrozenTrial:
    return trial(number, TrialState.PRUNED, curve)


def observed(*trials: FrozenTrial, **more: Any) -> list[tuple[int, float, float]]:
    more = {"is_bad": [False] * len(trials), "points": np.zeros((len(trials), 1)), **more}
    seen = observe(trials, 1, **more)
    each = zip(seen.trials, seen.losses, seen.reach, strict=True)
    return [(t.number, round(loss, 9), round(reach, 9)) for t, loss, reach in each]


def test_a_complete_trial_is_seen_at_its_end() -> None:
    assert observed(complete(0, {1: 3.0, 2: 1.0}), complete(1, {1: 2.0, 2: 4.0})) == [
        (0, 1.0, 1.0), (1, 2.0, 1.0),
    ]  # fmt: skip


def test_a_pruned_one_is_seen_at_the_rungs_it_reached_and_is_given_what_others_gained() -> None:
    at = [math.log1p(epoch) / math.log1p(5) for epoch in (1, 2)]
    seen = observed(
        complete(0, {1: 5.0, 2: 4.0, 3: 3.0, 4: 1.0}),  # gains 1, then 3
        pruned(1, {1: 6.0}),
        pruned(2, {1: 5.5, 2: 3.5}),  # gains 2
    )
    # From 1 to 2 the median gain is 1.5, from 2 to the end 3.
    assert seen == [
        (0, 0.5, round(at[0], 9)), (0, 1.0, round(at[1], 9)), (0, 1.0, 1.0),
        (1, 1.5, round(at[0], 9)),
        (2, 1.0, round(at[0], 9)), (2, 0.5, round(at[1], 9)),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_that_diverges_at_this_moment_teaches_what_it_was_before(value: float) -> None:
    others = [
        complete(0, {1: 3.0, 2: 2.0, 3: 2.0}),
        pruned(1, {1: 4.0}),
        pruned(2, {1: 4.0, 2: 3}),
    ]
    runs = trial(3, TrialState.RUNNING, {1: 5.0, 2: value})
    assert observed(*others, runs) == observed(*others, trial(3, TrialState.RUNNING, {1: 5.0}))


def test_a_pruned_trial_of_others_that_has_a_value_and_no_epochs_teaches_nothing() -> None:
    others = [complete(0, {1: 3.0, 2: 2.0}), pruned(1, {1: 4.0})]
    assert observed(*others, trial(2, TrialState.PRUNED, {}, 1.0)) == observed(*others)


def test_what_gains_more_in_some_place_is_given_more_there() -> None:
    places = np.linspace(0, 1, 21)[:, None]
    # From epoch 1 to the end, a complete trial gains twice what its place is.
    trials = [complete(at, {1: 5.0, 9: 5.0 - 2 * x}) for at, (x,) in enumerate(places)]
    slow, fast = pruned(21, {1: 5.0}), pruned(22, {1: 5.0})
    seen = observed(*trials, slow, fast, points=np.vstack([places, [[1.0]], [[0.0]]]))
    [loss_of_slow] = [loss for number, loss, _ in seen if number == 21]
    [loss_of_fast] = [loss for number, loss, _ in seen if number == 22]
    assert loss_of_slow == pytest.approx(3.0, abs=0.5)
    assert loss_of_fast == pytest.approx(5.0, abs=0.5)
    assert loss_of_slow + loss_of_fast == pytest.approx(8.0)


def test_a_few_gains_are_no_rule() -> None:
    points = np.array([[0.0], [1.0], [0.5]])
    trials = [complete(0, {1: 5.0, 2: 4.0}), complete(1, {1: 5.0, 2: 2.0}), pruned(2, {1: 5.0})]
    of_two = observed(*trials, points=points)
    assert [loss for number, loss, _ in of_two if number == 2] == [3.0]
    off = observed(*trials[:2], pruned(2, {1: 5.0}), points=np.array([[0.0], [1.0], [1.0]]))
    assert [loss for number, loss, _ in off if number == 2] == [pytest.approx(3 - 1 / 3)]


def test_the_best_epoch_so_far_counts() -> None:
    seen = observed(complete(0, {1: 1.0, 2: 2.0, 3: 0.5}), pruned(1, {1: 3.0, 2: 7.0}))
    assert [loss for number, loss, _ in seen if number == 1] == [2.5]


def test_a_trial_that_runs_teaches_at_the_rungs_it_has_passed() -> None:
    running = trial(2, TrialState.RUNNING, {1: 1.0, 2: 0.5, 3: 0.4})
    seen = observed(complete(0, {1: 2.0, 2: 1.0, 3: 1.0, 4: 1.0}), pruned(1, {1: 3.0, 2: 3.0}))
    with_it = observed(
        complete(0, {1: 2.0, 2: 1.0, 3: 1.0, 4: 1.0}), pruned(1, {1: 3.0, 2: 3.0}), running
    )
    assert [found for found in with_it if found[0] == 2] == [(2, 0.5, seen[0][2])]


def test_what_is_bad_is_the_worst_at_the_end() -> None:
    seen = observed(complete(0, {1: 1.0}), pruned(1, {1: math.nan}), is_bad=[False, True])
    assert seen == [(0, 1.0, 1.0), (1, math.inf, 1.0)]


def test_to_maximise_is_to_minimise_the_negative() -> None:
    accuracy = trial(0, TrialState.COMPLETE, {1: 0.5, 2: 0.8}, 0.8)
    assert observe([accuracy], -1, is_bad=[False], points=np.zeros((1, 1))).losses == [-0.8]


def test_of_many_the_best_and_the_latest_are_kept() -> None:
    values = np.random.default_rng(0).permutation(1000) + 1.0
    trials = [complete(at, {1: float(value)}) for at, value in enumerate(values)]
    seen = observe(trials, 1, is_bad=[False] * len(trials), points=np.zeros((len(trials), 2)))
    numbers = [t.number for t in seen.trials]
    assert len(numbers) == MOST_OBSERVATIONS
    assert set(np.argsort(values)[: MOST_OBSERVATIONS // 4]) <= set(numbers)
    assert set(range(1000 - MOST_OBSERVATIONS // 2, 1000)) <= set(numbers)


def test_of_what_is_bad_a_fourth_is_kept() -> None:
    trials = [complete(at, {1: float(at)}) for at in range(400)]
    is_bad = [at % 2 == 1 for at in range(400)]
    seen = observe(trials, 1, is_bad=is_bad, points=np.zeros((400, 1)))
    bad = [t.number for t in seen.trials if t.number % 2]
    assert len(seen.trials) == MOST_OBSERVATIONS
    assert bad == list(range(321, 400, 2))
    few = observe(trials[:160], 1, is_bad=is_bad[:160], points=np.zeros((160, 1)))
    assert [t.number for t in few.trials] == list(range(160))


@pytest.mark.parametrize("by_rank", [True, False])
def test_warping_keeps_the_order_and_tames_what_lies_far_off(by_rank: bool) -> None:
    losses = np.array([0.1, 0.2, 0.15, 0.3, 0.25, 1e9, math.inf])
    warped = warp(losses, by_rank=by_rank)
    order = np.argsort(losses, kind="stable")
    assert (np.diff(warped[order]) > 0).all()
    assert warped[5] < warped[6]
    assert np.ptp(warped) < 200 * np.ptp(warped[:5])


def test_warping_by_rank_knows_no_unit() -> None:
    losses = np.random.default_rng(0).lognormal(size=30)
    assert_allclose(warp(losses, by_rank=True), warp(losses * 1e3 - 7, by_rank=True), atol=1e-6)


def test_equal_losses_are_no_error() -> None:
    assert np.isfinite(warp(np.ones(5), by_rank=True)).all()
    assert np.isfinite(warp(np.ones(5), by_rank=False)).all()


def test_equal_losses_share_their_ranks() -> None:
    found = rank(np.array([3.0, 1.0, 3.0, 2.0, 3.0]))
    assert found.tolist() == [4.0, 1.0, 4.0, 2.0, 4.0]


def several(number: int, *values: float) -> FrozenTrial:
    made = create_trial(state=TrialState.COMPLETE, values=list(values))
    made.number = number
    return made


def test_of_several_losses_the_largest_weighed_one_counts_and_a_little_of_them_all() -> None:
    # Of two, ranks are 1/4 and 3/4, units 0 and 1; each counts half.
    trials = [several(0, 0.0, 3.0), several(1, 1.0, 0.0)]
    bad = [False, False]
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    by_first = observe_several(trials, [1, 1], is_bad=bad, weights=first).losses
    by_second = observe_several(trials, [1, 1], is_bad=bad, weights=second).losses
    assert by_first == pytest.approx([1.05 * (0 + 0.25) / 2, 1.05 * (1 + 0.75) / 2])
    assert by_second == pytest.approx(by_first[::-1])
    half = observe_several(trials, [1, 1], is_bad=bad, weights=np.array([0.5, 0.5])).losses
    assert half == pytest.approx([0.5 * 0.875 + 0.05 * 0.5] * 2)


def test_a_maximised_metric_is_the_other_way_round() -> None:
    trials = [several(0, 0.0, 1.0), several(1, 0.0, 2.0)]
    only = np.array([0.0, 1.0])
    up = observe_several(trials, [1, -1], is_bad=[False] * 2, weights=only).losses
    assert up[1] < up[0]


def test_of_several_what_is_bad_and_what_runs() -> None:
    running = create_trial(state=TrialState.RUNNING)
    running.number = 2
    trials = [several(0, 1.0, 2.0), trial(1, TrialState.PRUNED, {}), running]
    seen = observe_several(
        trials, [1, 1], is_bad=[False, True, False], weights=np.array([0.5, 0.5])
    )
    assert [t.number for t in seen.trials] == [0, 1]
    assert seen.losses[1] == math.inf


def test_trials_of_an_earlier_study_fill_what_the_studys_own_leave() -> None:
    n = MOST_OBSERVATIONS
    known = [complete(-at, {1: 5.0 + at}) for at in range(1, n + 1)]
    own = [complete(at, {1: 900.0 + at}) for at in range(n // 2)]
    numbers = [number for number, *_ in observed(*known, *own)]
    best, others = n // 4, n - n // 4 - n // 2
    # The lowest losses, then all of its own, then those that are the most telling.
    assert sorted(numbers) == [*range(-best - others, 0), *range(n // 2)]
