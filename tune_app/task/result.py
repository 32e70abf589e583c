"""The result of a trial: one value from the worker to the report."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from tune_app.task.loop.measured import Measured


@dataclass(frozen=True)
class Result(Measured):
    """One result of a trial, and the decision on it. The record has it field by field.

    The training fills in what has no default, the driver all else.
    """

    trial: int = 0
    attempt: int = 0
    state: str = ""
    """The SHA-256 of the training state; empty where that was not kept."""
    decision: Literal["continue", "pause", "stop"] = "continue"
    rung: float | None = None
    """The rung in epochs that was reached, if one was."""
    cutoff: float | None = None
    """The value that the rung asked for; None for the first that reached it."""
    compared: int = 0
    """The number of trials of the family that had reached the rung before."""
    n: int = 0
    """The number of its entry in the record."""
    time: float = 0.0
    """When it was written, since 1970."""

    @property
    def diverged(self) -> str | None:
        """The name of a value that is no longer a finite number: no further step will mend that. None: all are."""
        values = {"train_loss": self.train_loss, **self.valid}
        return next((name for name, value in values.items() if not math.isfinite(value)), None)

    @property
    def content(self) -> dict[str, Any]:
        """Its fields by name, without those that every entry of a record has."""
        return {name: value for name, value in vars(self).items() if name not in ("n", "time")}

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        """The result of a record's entry; `TypeError` where a field is missing."""
        return cls(**{name: entry[name] for name in NAMES & entry.keys()})


NAMES = {field.name for field in fields(Result)}
