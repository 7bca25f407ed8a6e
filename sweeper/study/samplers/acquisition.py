"""What a point of which a model knows mean and deviation may gain."""

import math

import numpy as np
from scipy.special import erfcx, log_ndtr, logsumexp, ndtr

from sweeper.study.samplers.axis import Array

_GRID = 64


def log_expected_improvement(mean: Array, deviation: Array, target: Array) -> Array:
    """Log of E[max(target - y, 0)] of normal outcomes y [m].

    Args:
        mean: Of each point in alternatives that are as likely [m, alternatives].
        deviation: Of each point, > 0 [m].
        target: What is to be undercut [alternatives].

    Source: Jones et al. 1998, eq. 15; in logarithms, as Ament et al. 2023 (arXiv:2310.20708)
    have it.
    """
    each = _log_improvement((target - mean) / deviation[:, None])
    improvement: Array = np.log(deviation) + logsumexp(each, axis=1) - math.log(mean.shape[1])
    return improvement


def _log_improvement(z: Array) -> Array:
    """log(phi(z) + z Phi(z)), exact far into the left tail."""
    near = np.log(np.maximum(np.exp(-z * z / 2) / math.sqrt(2 * math.pi) + z * ndtr(z), 1e-300))
    t = np.minimum(z, -1)
    tail = np.maximum(1 + t * math.sqrt(math.pi / 2) * erfcx(-t / math.sqrt(2)), 1e-300)
    log_tail = np.where(t > -1e4, np.log(tail), -2 * np.log(-t))
    return np.where(z > -1, near, -t * t / 2 - math.log(2 * math.pi) / 2 + log_tail)


def promise(mean: Array, deviation: Array, target: float) -> float:
    """Expected improvement upon ``target`` of the lowest of many points, held for independent.

    Args:
        mean: [m].
        deviation: [m].
        target: What is to be undercut.

    Returns:
        At least 0; negative, the gap of the nearest point, if none can gain.

    Source: own derivation: the integral over gains of one minus the product of the chances that
    each point gains less.
    """
    most = float(np.max(target - mean + 6 * deviation))
    if most <= 0:
        return most
    gains = (np.arange(_GRID) + 0.5) * (most / _GRID)
    z = (mean[:, None] - target + gains) / deviation[:, None]
    return float(np.sum(-np.expm1(np.sum(log_ndtr(z), axis=0))) * most / _GRID)
