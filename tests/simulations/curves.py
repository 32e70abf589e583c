"""The measured learning curves in curves.parquet: trials that need no training.

198 curves of 12 epochs, a result each quarter epoch: the tutorial's CNN and its logistic regression on the whole of
MNIST, lr log-uniform from 0.005 to 1, bs 16 to 256, momentum 0 to 0.95. Sixteen CNN configs are there twice.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.made_up import WORKER, tell
from tune_app.engine.search import Attempt, Search
from tune_app.task.result import Result

PER_EPOCH = 4


@dataclass(frozen=True)
class Curve:
    """One training. `accuracy`: valid accuracy after each quarter epoch; guessing where the loss was not finite."""

    family: str
    lr: float
    bs: int
    momentum: float
    accuracy: NDArray[np.float64]
    seconds: float
    """Of a quarter epoch."""

    @property
    def config(self) -> tuple[str, float, int, float]:
        return self.family, self.lr, self.bs, self.momentum


@cache
def read_curves() -> list[Curve]:
    frame = pq.read_table(Path(__file__).with_name("curves.parquet")).to_pandas()
    curves = []
    for _, rows in frame.groupby(["config", "seed"]):
        first, accuracy = rows.iloc[0], np.full(12 * PER_EPOCH, 0.1)
        accuracy[: len(rows)] = rows["valid_accuracy"]
        numbers = (float(first["lr"]), int(first["bs"]), float(first["momentum"]))
        seconds = float(rows["train_seconds"].iloc[-1]) / len(rows)  # the column adds up
        curves.append(Curve(str(first["model"]), *numbers, accuracy, seconds))
    return curves


def nearest(family: str, config: dict[str, Any]) -> Curve:
    """The curve of that family whose lr, bs and momentum are nearest, a factor of e in lr as one in bs."""

    def distance(curve: Curve) -> float:
        lr, bs = math.log(curve.lr / config["lr"]), math.log(curve.bs / config["bs"])
        return math.hypot(lr, bs, 2 * (curve.momentum - float(config.get("momentum", 0))))

    return min((curve for curve in read_curves() if curve.family == family), key=distance)


def seed_differences() -> list[NDArray[np.float64]]:
    """What another seed changed: the difference of the two curves of each config that is there twice."""
    pairs: dict[object, list[Curve]] = {}
    for curve in read_curves():
        pairs.setdefault(curve.config, []).append(curve)
    return [pair[1].accuracy - pair[0].accuracy for pair in pairs.values() if len(pair) == 2]


def simulated(
    search: Search,
    workers: int,
    train: Callable[[Attempt], tuple[Iterator[Result], float]],
    until: float = math.inf,
    state: bytes | None = None,
) -> Iterator[tuple[float, Result]]:
    """Search as so many workers would: each result, with the second at which it has come.

    train: the results of an attempt, and the seconds that each of them takes.
    """
    work: dict[int, tuple[Iterator[Result], float]] = {}
    steps = [(0.0, worker) for worker in range(workers)]
    while steps and steps[0][0] < until:
        now, worker = heapq.heappop(steps)
        if worker in work:
            result = next(work[worker][0])
            if tell(search, result.trial, result, state).stop:
                del work[worker]
            yield now, result
        elif search.ready:
            attempt = search.next_attempt()
            search.started(attempt.trial.number, WORKER)
            work[worker] = train(attempt)
        elif search.all_begun:
            continue
        else:  # nothing to do: look again a little later
            now += 0.05
        heapq.heappush(steps, (now + (work[worker][1] if worker in work else 0), worker))
