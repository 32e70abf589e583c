"""The metrics that a level is measured by, one of which a search optimizes."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tune_app.task.result import Result


@dataclass(frozen=True)
class Metric:
    """One number of every result, measured on the valid images.

    plural: the name of a list of them. mode: which way is better. low, high: no value lies outside. guess: its
    value for a model that guesses. tolerance: how far the last value of a training may be off where its numbers
    cannot be the same, and no interval is known.
    """

    name: str
    plural: str
    mode: Literal["max", "min"]
    low: float
    high: float
    guess: float
    tolerance: float

    @property
    def words(self) -> str:
        """Its name for people: valid loss."""
        return self.name.replace("_", " ")

    @property
    def words_of_many(self) -> str:
        """Several of them for people: valid losses."""
        return self.plural.replace("_", " ")

    @property
    def on_test(self) -> str:
        """The name of the same number on the test images: test_loss."""
        return self.name.replace("valid_", "test_")

    def value(self, result: "Result") -> float:
        """Its value in a result."""
        return result.valid[self.name]

    def gain(self, value: float, other: float) -> float:
        """How much better `value` is than `other`; below 0 where it is worse."""
        return value - other if self.mode == "max" else other - value

    def bounded(self, interval: tuple[float, float]) -> tuple[float, float]:
        """The part of an interval in which values can lie."""
        return max(self.low, interval[0]), min(self.high, interval[1])


METRICS = {
    metric.name: metric
    for metric in (
        Metric("valid_accuracy", "valid_accuracies", "max", 0, 1, guess=0.1, tolerance=0.02),
        Metric("valid_loss", "valid_losses", "min", 0, math.inf, guess=math.log(10), tolerance=0.06),
    )
}
"""Tolerances: the accuracy of the tutorial's CNN on two threads instead of one was up to 0.005 off in four epochs
of three seeds, and another seed changes it by 0.022 in the median. Its loss differed three times as much: after two
epochs by 0.008 on two threads, between seeds by 0.084 in the median of ten pairs; the accuracy by 0.003 and 0.028.
"""
