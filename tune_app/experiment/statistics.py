"""The few statistics that a confirmation rests on: a paired test and four intervals.

scipy is imported where it is needed: whoever reads an experiment that has no confirmation does not wait for it.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def p_worse(errors: Sequence[float], others: Sequence[float]) -> float:
    """How likely paired `errors` would exceed `others` so clearly by chance: Student's paired t-test, one-sided.

    Both hold one error for each of n >= 2 pairs.
    """
    from scipy.special import stdtr

    differences: NDArray[np.float64] = np.subtract(errors, others)
    n, mean, spread = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    if spread == 0:
        return 0.0 if mean > 0 else 1.0
    return float(stdtr(n - 1, -mean / (spread / math.sqrt(n))))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that holds the mean behind n >= 2 values with 95 % confidence, by Student's t."""
    return around_mean(values, 1 / len(values))


def next_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that a further value lies in with 95 % confidence, after n >= 2 values, by Student's t."""
    return around_mean(values, 1 + 1 / len(values))


def around_mean(values: Sequence[float], variances: float) -> tuple[float, float]:
    """The 95 % interval, by Student's t, of what has so many times the values' variance about their mean."""
    from scipy.special import stdtrit

    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * deviation * math.sqrt(variances)
    return mean - half, mean + half


def percentile_interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The interval that holds 95 % of the values of one number over sets of items drawn with replacement.

    The percentile bootstrap: Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.
    """
    low, high = np.quantile(resampled, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def proportion_interval(hits: int, n: int) -> tuple[float, float]:
    """The interval that holds the proportion behind `hits` of `n` with 95 % confidence.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
