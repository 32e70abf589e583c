"""The metrics that a level is measured by, one of which a search optimizes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """One number of every result, measured on the valid images.

    plural: the name of a list of them. mode: which way is better. low, high: no value lies outside. guess: its
    value for a model that guesses.
    """

    name: str
    plural: str
    mode: Literal["max", "min"]
    low: float
    high: float
    guess: float

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

    def value(self, result: Mapping[str, Any]) -> float:
        """Its value in a result."""
        return float(result[self.name])

    def gain(self, value: float, other: float) -> float:
        """How much better `value` is than `other`; below 0 where it is worse."""
        return value - other if self.mode == "max" else other - value


METRICS = {
    metric.name: metric
    for metric in (
        Metric("valid_accuracy", "valid_accuracies", "max", 0, 1, guess=0.1),
        Metric("valid_loss", "valid_losses", "min", 0, math.inf, guess=math.log(10)),
    )
}


def values_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that a result has, by name."""
    return {name: metric.value(result) for name, metric in METRICS.items() if name in result}
