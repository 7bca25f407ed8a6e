"""Against integrals and draws."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm

from sweeper.study.samplers.acquisition import log_expected_improvement, promise


@pytest.mark.parametrize("z", [-6.0, -2.0, -0.5, 0.0, 1.0, 4.0])
def test_improvement_is_the_integral_over_what_is_gained(z: float) -> None:
    deviation, target = 0.7, 1.0
    mean = target - z * deviation
    gained, _ = quad(
        lambda y: (target - y) * norm.pdf(y, mean, deviation), mean - 12 * deviation, target,
        epsabs=0, points=[min(mean, target)],
    )  # fmt: skip
    found = log_expected_improvement(np.array([[mean]]), np.array([deviation]), np.array([target]))
    assert_allclose(found, np.log(gained), rtol=1e-6)


def test_improvement_far_away_still_has_a_slope() -> None:
    means = np.array([10.0, 100.0, 1e3, 1e5, 1e7])
    found = log_expected_improvement(means[:, None], np.ones(5), np.zeros(1))
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()
    assert_allclose(found[1], -(100.0**2) / 2, rtol=0.01)


def test_improvement_over_cases_is_the_mean_of_each() -> None:
    mean, deviation = np.array([[0.2, 1.0], [0.5, 0.4]]), np.array([0.3, 0.6])
    targets = np.array([0.1, 0.7])
    each = [log_expected_improvement(mean[:, [at]], deviation, targets[[at]]) for at in range(2)]
    both = log_expected_improvement(mean, deviation, targets)
    assert_allclose(np.exp(both), np.exp(each).mean(axis=0))


def test_promise_is_what_the_lowest_of_the_points_gains() -> None:
    rng = np.random.default_rng(0)
    mean, deviation, target = rng.normal(1.0, 0.5, 20), rng.uniform(0.1, 0.6, 20), 0.4
    lowest = (mean + deviation * rng.standard_normal((200_000, 20))).min(axis=1)
    gained = np.maximum(target - lowest, 0).mean()
    assert promise(mean, deviation, target) == pytest.approx(gained, rel=0.03)


def test_a_branch_that_cannot_gain_promises_less_the_more_it_lacks() -> None:
    near, far = (promise(np.array([lack]), np.array([0.01]), 0.0) for lack in (1.0, 2.0))
    assert far < near < 0
