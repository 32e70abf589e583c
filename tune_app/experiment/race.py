"""A race over paired seeds: which of a search's best configs is the best.

The best value of a search is the luckiest of many draws. So its best configs are trained again, in rounds: in a
round each of them with the same fresh seed. From the third round on, a config is out once it is clearly worse than
the leader, by a paired one-sided t-test at 5 % over the rounds so far: tNo-Race in Birattari, Stützle, Paquete and
Varrentrapp, "A Racing Algorithm for Configuring Metaheuristics" (GECCO 2002), after Maron and Moore, "Hoeffding
Races" (NIPS 1993). What is not out when the rounds are over cannot be told apart, and the cheapest of it wins.

A config that is not out, but whose mean error exceeds the leader's by more than a tenth, is no tie either: it is
behind. So is one of which more seeds failed: those have no error, and the config with the fewest of them leads.

Everything here is a function of its arguments. Errors: 1 - accuracy, or the loss; less is better, and infinity is
a run that failed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tune_app.experiment.statistics import p_worse

FIRST_TEST, ROUNDS = 3, 6
LEVEL = 0.05
TIE = 1.1
"""So many times the leader's mean error is still a tie."""


@dataclass(frozen=True)
class Standing:
    """How one config came through. `errors`: by round, as far as it was in; `p`: of the test that put it out."""

    errors: tuple[float, ...]
    state: Literal["racing", "out", "behind", "tie"] = "racing"
    p: float | None = None

    @property
    def mean(self) -> float:
        """The mean error of the runs that did not fail; without any nothing is known, so 0."""
        found = [error for error in self.errors if math.isfinite(error)]
        return float(np.mean(found)) if found else 0.0

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return sum(map(math.isinf, self.errors))


def race(errors: Sequence[Sequence[float | None]], on_ratio_scale: bool) -> list[Standing]:
    """The standing of each config; `errors[c][r]`: None where round r of config c has not ended.

    Only rounds count that all configs in the race have ended, so the outcome does not depend on who was quicker.
    While any is "racing", the race is not decided.

    on_ratio_scale: whether an error of 0 is the best that can be, so that one can be a tenth larger than another;
    where it is not, as of a loss that can be negative, only the test tells configs apart.
    """
    out: dict[int, Standing] = {}
    racing = list(range(len(errors)))
    counted: list[list[float]] = [[] for _ in errors]
    for number in range(1, ROUNDS + 1):
        if len(racing) == 1:
            break
        ended = {c: value for c in racing if (value := errors[c][number - 1]) is not None}
        if len(ended) < len(racing):
            return [out.get(c, Standing(tuple(counted[c]))) for c in range(len(errors))]
        for c, value in ended.items():
            counted[c].append(value)
        if number >= FIRST_TEST:
            leader = min(racing, key=lambda c: order(counted[c]))
            chances = {c: p_behind(counted[c], counted[leader]) for c in racing if c != leader}
            out |= {c: Standing(tuple(counted[c]), "out", p) for c, p in chances.items() if p < LEVEL}
            racing = [c for c in racing if c not in out]
    failed, least = min(order(counted[c]) for c in racing)
    for c in racing:
        standing = Standing(tuple(counted[c]))
        near = standing.mean <= TIE * least or not on_ratio_scale
        out[c] = Standing(standing.errors, "tie" if near and standing.failed == failed else "behind")
    return [out[c] for c in range(len(errors))]


def order(errors: Sequence[float]) -> tuple[int, float]:
    """Orders configs, the leader first: by the runs that failed, then by the mean error."""
    standing = Standing(tuple(errors))
    return standing.failed, standing.mean


def p_behind(errors: Sequence[float], leaders: Sequence[float]) -> float:
    """The test's chance over the rounds in which neither failed; 1 where there are less than two."""
    pairs = [pair for pair in zip(errors, leaders, strict=True) if all(map(math.isfinite, pair))]
    return p_worse(*zip(*pairs, strict=True)) if len(pairs) > 1 else 1.0
