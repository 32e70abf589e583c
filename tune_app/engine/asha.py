"""ASHA, the asynchronous successive halving algorithm: which trials to train further.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (https://arxiv.org/abs/1810.05934). A
trial that reaches a rung is compared with those of its family that have reached it. There are two forms:

- Promotion, that of the paper (Algorithm 2): each trial pauses at a rung, and goes on when it is one of the best
  1/reduction_factor there: at once, or later, when enough others have come. Those of the highest rung go on first.
- Stopping, that of Ray Tune's AsyncHyperBandScheduler: a trial is stopped for good where it is worse than the best
  1/reduction_factor of those that came before it. The first at a rung always goes on.

Everything here is a function of its arguments, so a decision can be repeated from the record.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np

from tune_app.experiment.settings import Settings
from tune_app.task.result import Result
from tune_app.task.task import Metric


@dataclass(frozen=True)
class Decision:
    """What is to happen to a trial, and why: its value against the cutoff of `compared` others at the rung.

    `rung` (in epochs) is None where the result reached none; `cutoff` is None where too few have reached it.
    """

    action: Literal["continue", "pause", "stop"] = "continue"
    rung: float | None = None
    cutoff: float | None = None
    compared: int = 0

    @property
    def stop(self) -> bool:
        """Whether its worker stops training it, for good or until it is promoted."""
        return self.action != "continue"


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
    """The highest rung that a result at `epoch` has reached, and the result before it had not."""
    before = epoch - 1 / settings.results_per_epoch
    new = [rung for rung in rungs(settings) if before < rung - 1e-9 and rung - 1e-9 <= epoch]
    return new[-1] if new else None


def judged(settings: Settings) -> list[int]:
    """The numbers k of the results at which a trial may end: at each rung, and at max_epochs."""
    per_epoch = settings.results_per_epoch
    last = settings.max_epochs * per_epoch
    return sorted({min(last, ceil(rung * per_epoch - 1e-9)) for rung in rungs(settings)} | {last})


def decide(
    settings: Settings, metric: Metric, result: Result, at_rungs: Mapping[float, Sequence[Result]]
) -> Decision:
    """Judge a result.

    at_rungs: by rung, the results of the family that were there before, the best first.
    """
    if result.epoch >= settings.max_epochs:
        return Decision("stop")
    rung = reached(settings, result.epoch)
    if rung is None:
        return Decision()
    sign = 1 if metric.mode == "max" else -1
    value, *others = (sign * metric.value(one) for one in (result, *at_rungs.get(rung, ())))
    judge = goes_on if settings.scheduler == "promotion" else survives
    passes, cutoff = judge(settings.reduction_factor, value, others)
    out: Literal["pause", "stop"] = "pause" if settings.scheduler == "promotion" else "stop"
    cutoff = None if cutoff is None else sign * cutoff
    return Decision("continue" if passes else out, rung, cutoff, len(others))


Judged = tuple[bool, float | None]
"""Whether a value passes a rung, more being better, and the cutoff there if there is one."""


def survives(factor: float, value: float, others: Sequence[float]) -> Judged:
    """Stopping: compare a value with the best 1/factor of the others at a rung."""
    if not others:
        return True, None
    cutoff = float(np.percentile(others, (1 - 1 / factor) * 100))
    return value >= cutoff, cutoff


def goes_on(factor: float, value: float, others: Sequence[float]) -> Judged:
    """Promotion: see whether a value is one of the best 1/factor of all at a rung; of equals the first is."""
    most = promoted_of(len(others) + 1, factor)
    ahead = sum(other >= value for other in others)
    return ahead < most, sorted([value, *others], reverse=True)[most - 1] if most else None


def promoted_of(number: int, factor: float) -> int:
    """How many of so many at a rung are the best 1/factor of them."""
    return int(number / factor + 1e-9)


def promotable(
    settings: Settings,
    ladders: Mapping[str, Mapping[float, Sequence[Result]]],
    paused: Mapping[int, float],
    finishing: Collection[str] = (),
) -> Result | None:
    """The result of a paused trial that is to go on now: of the highest rung, and there of the longest wait.

    ladders: the results at each rung by family. paused: the rung at which each paused trial waits. finishing: the
    families of which nobody else will come, so that the best goes on however few there are.
    """
    for rung in reversed(rungs(settings)) if paused else ():
        best: list[Result] = []
        for family, ladder in ladders.items():
            at_rung = ladder.get(rung, ())
            best += best_of(at_rung, settings.reduction_factor) or at_rung[: family in finishing]
        waiting = [result for result in best if paused.get(result.trial) == rung]
        if waiting:
            return min(waiting, key=lambda result: result.n)
    return None


def best_of(at_rung: Sequence[Result], factor: float) -> Sequence[Result]:
    """The best 1/factor of the results at a rung, which are ordered."""
    return at_rung[: promoted_of(len(at_rung), factor)]


def why(metric: Metric, result: Result, cutoff: float | None, others: int) -> str:
    """A stop in words: "epoch 0.75: 0.912 below the cutoff 0.934 of 11 trials at this rung".

    At the cutoff: an equal one came before. No cutoff: too few others came.
    """
    value = metric.value(result)
    trials = "1 trial" if others == 1 else f"{others} trials"
    if cutoff is None:
        return f"epoch {result.epoch:g}: {value:.4g}, with {trials} at this rung too few to go on with one"
    side = "at" if value == cutoff else "below" if metric.mode == "max" else "above"
    return f"epoch {result.epoch:g}: {value:.4g} {side} the cutoff {cutoff:.4g} of {trials} at this rung"
