"""Gaussian-process regression in numpy and scipy: enough for some hundred settings."""

import math

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

from sweeper.study.samplers.axis import Array, Indices, Mask

#: Median and width, in logarithms, of the prior of a length; 1 is the whole of a range. Longer
#: than half of a range, as most parameters matter little (Hvarfner et al. 2024, arXiv:2402.02229).
_LENGTH = (math.log(1.2), 1.0)
_SCALE = (0.0, 1.0)
_NOISE = (math.log(1e-3), 2.0)
_LEAST_NOISE = math.log(1e-6)
_JITTER = 1e-8
_MOST_STEPS = 25


class GaussianProcess:
    """Zero mean, Matern-5/2 with a length for each parameter, noise that is the same everywhere.

    Lengths, scale and noise are those of the highest posterior density, found by exact gradients.

    Args:
        points: Where outcomes are known [n, columns].
        outcomes: About standardised [n].
        column: Column -> parameter, an integer from 0 [columns].
        is_smooth: Which of them tell lengths, scale and noise; the others, beyond some cliff, do
            not [n].

    Attributes:
        lengths: Of each parameter, in units of its range; one that never varied has the prior's.
        noise: Variance.
    """

    def __init__(self, points: Array, outcomes: Array, column: Indices, is_smooth: Mask) -> None:
        pairs = np.tril_indices(int(is_smooth.sum()), -1)
        squares = _squares(points[is_smooth], column, pairs)
        varies = squares.max(axis=1) > 0
        n = int(varies.sum())
        centre = np.array([_LENGTH[0]] * n + [_SCALE[0], _NOISE[0]])
        width = np.array([_LENGTH[1]] * n + [_SCALE[1], _NOISE[1]])
        bounds = list(zip(centre - 4 * width, centre + 4 * width, strict=True))
        bounds[-1] = (_LEAST_NOISE, bounds[-1][1])
        found = minimize(
            _loss,
            centre,
            (pairs, squares[varies], outcomes[is_smooth], centre, width),
            "L-BFGS-B",
            jac=True,
            bounds=bounds,
            options={"maxiter": _MOST_STEPS, "ftol": 1e-5},
        )
        self.lengths = np.full(len(varies), math.exp(_LENGTH[0]))
        self.lengths[varies] = np.exp(found.x[:-2])
        self._scale, self.noise = map(float, np.exp(found.x[-2:]))
        self._per_column = self.lengths[column]
        self.condition(points, outcomes[:, None])

    def condition(self, points: Array, outcomes: Array) -> None:
        """Take other data and keep the kernel.

        Args:
            points: [n, columns].
            outcomes: Alternatives of them, each a column [n, alternatives].
        """
        self._points = points / self._per_column
        kernel = self._scale * _matern(_distances(self._points, self._points))[0]
        kernel[np.diag_indices_from(kernel)] += self.noise + _JITTER
        self._factor = cho_factor(kernel, lower=True, check_finite=False)
        self._weights = cho_solve(self._factor, outcomes, check_finite=False)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Mean of each alternative [m, alternatives], standard deviation without noise [m]."""
        cross, halved = self._cross(points)
        variance = np.maximum(self._scale - np.sum(halved * halved, axis=0), 1e-12)
        return cross.T @ self._weights, np.sqrt(variance)

    def draw(self, points: Array, normal: Array) -> Array:
        """Outcomes with noise at points, drawn together [m, alternatives].

        Args:
            points: [m, columns].
            normal: Standard normal numbers [m, alternatives].
        """
        cross, halved = self._cross(points)
        scaled = points / self._per_column
        covariance = self._scale * _matern(_distances(scaled, scaled))[0] - halved.T @ halved
        covariance[np.diag_indices_from(covariance)] += self.noise + 1e-6 * self._scale
        factor = np.linalg.cholesky(covariance)
        drawn: Array = cross.T @ self._weights + factor @ normal
        return drawn

    def _cross(self, points: Array) -> tuple[Array, Array]:
        distances = _distances(self._points, points / self._per_column)
        cross = self._scale * _matern(distances)[0]
        return cross, solve_triangular(self._factor[0], cross, lower=True, check_finite=False)


def _squares(points: Array, column: Indices, pairs: tuple[Indices, Indices]) -> Array:
    """Squared differences of each pair of points in each parameter [parameters, pairs]."""
    squares = np.zeros((column.max() + 1, len(pairs[0])))
    for at, parameter in enumerate(column):
        squares[parameter] += (points[pairs[0], at] - points[pairs[1], at]) ** 2
    return squares


def _loss(
    theta: Array,
    pairs: tuple[Indices, Indices],
    squares: Array,
    outcomes: Array,
    centre: Array,
    width: Array,
) -> tuple[float, Array]:
    """Negative logarithm of the posterior density of the kernel's logarithms, and its gradient.

    All matrices are symmetric, so only what is below their diagonals is computed.

    Source: Rasmussen and Williams 2006, eq. 5.8 and 5.9, with a normal prior.
    """
    n, inverse, (scale, noise) = len(outcomes), np.exp(-2 * theta[:-2]), np.exp(theta[-2:])
    kernel, slope = _matern(inverse @ squares)
    covariance = np.zeros((n, n), order="F")
    covariance[pairs] = scale * kernel
    covariance[np.diag_indices(n)] = scale + noise + _JITTER
    factor, fault = dpotrf(covariance, lower=True, overwrite_a=True)
    if fault:
        return 1e10, np.zeros_like(theta)
    weights, off = dpotrs(factor, outcomes, lower=True)[0], (theta - centre) / width
    loss = 0.5 * outcomes @ weights + np.log(np.diag(factor)).sum() + 0.5 * off @ off
    precision = dpotri(factor, lower=True)[0]
    outer = precision[pairs] - weights[pairs[0]] * weights[pairs[1]]
    trace = np.trace(precision) - weights @ weights
    lengths = -2 * scale * inverse * (squares @ (outer * slope))
    by_scale, by_noise = scale * (outer @ kernel + 0.5 * trace), 0.5 * noise * trace
    return float(loss), np.array([*lengths, by_scale, by_noise]) + off / width


def _distances(a: Array, b: Array) -> Array:
    """Squared distances [a, b]."""
    squared: Array = np.sum(a * a, 1)[:, None] + np.sum(b * b, 1) - 2 * a @ b.T
    return np.maximum(squared, 0)


def _matern(squared: Array) -> tuple[Array, Array]:
    """Matern-5/2 of squared distances, and its derivative by them."""
    root = np.sqrt(5 * squared)
    decay = np.exp(-root)
    return (1 + root + 5 / 3 * squared) * decay, -5 / 6 * (1 + root) * decay
