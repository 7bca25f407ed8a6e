"""Against scipy's numerical derivatives and against the formulas written out."""

import numpy as np
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime

from sweeper.study.samplers.gaussian_process import GaussianProcess, _loss, _squares

COLUMN = np.array([0, 1, 1, 2])


def data(n: int = 25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.random((n, 4))
    outcomes = np.sin(6 * points[:, 0]) + 0.3 * points[:, 1]
    return points, (outcomes - outcomes.mean()) / outcomes.std()


def test_the_gradient_is_that_of_the_loss() -> None:
    points, outcomes = data()
    pairs = np.tril_indices(len(points), -1)
    squares = _squares(points, COLUMN, pairs)
    centre, width = np.zeros(5), np.ones(5)
    theta = np.array([0.1, 0.4, -0.2, 0.3, -3.0])
    args = (pairs, squares, outcomes, centre, width)
    numerical = approx_fprime(theta, lambda t: _loss(t, *args)[0], 1e-6)
    assert_allclose(_loss(theta, *args)[1], numerical, rtol=1e-3, atol=1e-3)


def test_it_goes_through_what_it_has_seen_and_is_unsure_elsewhere() -> None:
    points, outcomes = data(40)
    process = GaussianProcess(points, outcomes, COLUMN, np.ones(len(points), bool))
    mean, deviation = process.predict(points)
    assert_allclose(mean[:, 0], outcomes, atol=0.15)
    far = process.predict(points + 20.0)
    assert_allclose(far[0], 0, atol=1e-3)
    assert (far[1] > deviation.max()).all()


def test_what_matters_has_the_shortest_length() -> None:
    points, outcomes = data(60)
    process = GaussianProcess(points, outcomes, COLUMN, np.ones(len(points), bool))
    assert process.lengths.argmin() == 0
    assert process.lengths[2] > 2 * process.lengths[0]


def test_alternatives_are_predicted_each_by_itself() -> None:
    points, outcomes = data()
    process = GaussianProcess(points, outcomes, COLUMN, np.ones(len(points), bool))
    others = outcomes[::-1].copy()
    new = np.random.default_rng(1).random((7, 4))
    process.condition(points, np.column_stack([outcomes, others]))
    both, deviation = process.predict(new)
    for at, single in enumerate((outcomes, others)):
        process.condition(points, single[:, None])
        mean, alone = process.predict(new)
        assert_allclose(both[:, at], mean[:, 0], rtol=1e-8, atol=1e-10)
        assert_allclose(deviation, alone)


def test_drawn_outcomes_have_the_predicted_mean_and_deviation() -> None:
    points, outcomes = data()
    process = GaussianProcess(points, outcomes, COLUMN, np.ones(len(points), bool))
    new = np.random.default_rng(1).random((3, 4))
    drawn = process.draw(new, np.random.default_rng(2).standard_normal((3, 20_000)))
    mean, deviation = process.predict(new)
    assert_allclose(drawn.mean(axis=1), mean[:, 0], atol=0.03)
    assert_allclose(drawn.var(axis=1), deviation**2 + process.noise, rtol=0.05, atol=1e-3)
