"""The few statistics that a confirmation rests on: a paired test and three intervals.

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
    return student_interval(values, math.sqrt(1 / len(values)))


def next_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that a further value lies in with 95 % confidence, after n >= 2 values, by Student's t."""
    return student_interval(values, math.sqrt(1 + 1 / len(values)))


def student_interval(values: Sequence[float], deviations: float) -> tuple[float, float]:
    """The mean, and so many standard deviations of the values to either side, at 95 % confidence."""
    from scipy.special import stdtrit

    t = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    mean, half = float(np.mean(values)), t * deviations * float(np.std(values, ddof=1))
    return mean - half, mean + half


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
