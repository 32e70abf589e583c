"""ASHA, the asynchronous successive halving algorithm: which trials to stop early.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (https://arxiv.org/abs/1810.05934),
in the stopping form that Ray Tune's AsyncHyperBandScheduler uses: a trial that reaches a rung is compared
with those of its family that reached the rung before it, and is stopped where it is worse than the best
1/reduction_factor of them. It waits for nobody; the first at a rung always goes on.

Everything here is a function of its arguments, so a decision can be repeated from the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np

from tune_app.experiment.settings import Settings


@dataclass(frozen=True)
class Decision:
    """Whether to stop a trial, and why: its value against the cutoff of `compared` others at the rung.

    `rung` (in epochs) is None where the result reached none; `cutoff` is None for the first at a rung.
    """

    stop: bool
    rung: float | None = None
    cutoff: float | None = None
    compared: int = 0


def rungs(settings: Settings) -> list[float]:
    """The rungs in epochs, lowest first: grace_period * reduction_factor^i, below max_epochs."""
    if not settings.early_stopping:
        return []
    ladder = []
    rung = settings.grace_period
    while rung < settings.max_epochs:
        ladder.append(rung)
        rung *= settings.reduction_factor
    return ladder


def reached(settings: Settings, epoch: float) -> float | None:
    """The rung that a result at `epoch` is the first to reach: the highest that the one before was below."""
    before = epoch - 1 / settings.results_per_epoch
    new = [rung for rung in rungs(settings) if before < rung - 1e-9 and rung - 1e-9 <= epoch]
    return new[-1] if new else None


def judged(settings: Settings) -> list[int]:
    """The numbers k of the results at which a trial may end: at each rung, and at max_epochs."""
    per_epoch = settings.results_per_epoch
    last = settings.max_epochs * per_epoch
    return sorted({min(last, ceil(rung * per_epoch - 1e-9)) for rung in rungs(settings)} | {last})


def decide(
    settings: Settings,
    mode: Literal["max", "min"],
    epoch: float,
    value: float,
    at_rungs: Mapping[float, Sequence[float]],
) -> Decision:
    """Judge a result at `epoch` with a metric's `value`, of which `mode` is the better.

    at_rungs: by rung, the values that were there before.
    """
    if epoch >= settings.max_epochs:
        return Decision(stop=True)
    rung = reached(settings, epoch)
    if rung is None:
        return Decision(stop=False)
    others = at_rungs.get(rung, ())
    if not others:
        return Decision(stop=False, rung=rung)
    sign = 1 if mode == "max" else -1
    cutoff = float(np.percentile([sign * v for v in others], (1 - 1 / settings.reduction_factor) * 100))
    return Decision(stop=sign * value < cutoff, rung=rung, cutoff=sign * cutoff, compared=len(others))
