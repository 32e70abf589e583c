"""The numbers that a training gives at each result. Nothing here needs torch."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One result of a training. Durations are in seconds."""

    k: int
    """Its number within the training, from 1."""
    epoch: float
    """The epochs trained so far."""
    valid: Mapping[str, float]
    """Each metric on the valid items by its name; valid_loss is the last."""
    train_loss: float
    """The mean over the `items` that were trained on since the result before."""
    items: int
    train_seconds: float
    valid_seconds: float
    parameters: int
    """The number of numbers that the training changes."""
