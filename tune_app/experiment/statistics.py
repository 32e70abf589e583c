"""The few statistics that a confirmation rests on: a paired test and two intervals."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

CONFIDENCE = 0.95


def p_worse(errors: Sequence[float], others: Sequence[float]) -> float:
    """How likely paired `errors` would exceed `others` so clearly by chance: Student's paired t-test, one-sided.

    Both hold one error for each of n >= 2 pairs.
    """
    differences = np.subtract(errors, others)
    n, mean, spread = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    if spread == 0:
        return 0.0 if mean > 0 else 1.0
    return float(stdtr(n - 1, -mean / (spread / math.sqrt(n))))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that holds the mean behind n >= 2 values with 95 % confidence, by Student's t."""
    n, mean = len(values), float(np.mean(values))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def next_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that a further value lies in with 95 % confidence, after n >= 2 values, by Student's t."""
    n, mean = len(values), float(np.mean(values))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / n)
    return mean - half, mean + half


def proportion_interval(hits: int, n: int) -> tuple[float, float]:
    """The interval that holds the proportion behind `hits` of `n` with 95 % confidence.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    z = float(ndtri((1 + CONFIDENCE) / 2))
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
