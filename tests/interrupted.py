"""Trainings that are killed after each of their results, and have to go on exactly."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, get_data
from tune_app.task.loop.chance import seeded
from tune_app.task.loop.fit import train
from tune_app.task.loop.measured import Measured
from tune_app.task.loop.state import check_round_trip, save

SEED = 7
Metrics = Mapping[str, Callable[[Any, Any], Any]]
Outcomes = list[tuple[Measured, bytes]]
"""Each result, without its durations, and the state after it."""


def goes_on_exactly(build: Callable[[], Lesson], metrics: Metrics, epochs: float = 2, per: int = 3) -> Outcomes:
    """Train without interruption; then kill it after every result, go on, and hold that all is the same."""
    full = outcomes(built(build), metrics, epochs, per)
    assert len(full) == round(epochs * per)
    for k in range(len(full)):
        assert resumed(build, metrics, epochs, per, k, full) == full[k:]
    return full


def resumed(
    build: Callable[[], Lesson], metrics: Metrics, epochs: float, per: int, after: int, full: Outcomes
) -> Outcomes:
    """What follows result `after` if nothing is left of the training but the state after it."""
    use_generators()
    lesson = built(build)
    if after:
        check_round_trip(lesson, full[after - 1][1])
    return outcomes(lesson, metrics, epochs, per, after)


def built(build: Callable[[], Lesson]) -> Lesson:
    """A lesson as it begins."""
    with seeded(SEED):
        return build()


def outcomes(lesson: Lesson, metrics: Metrics, epochs: float, per: int, after: int = 0) -> Outcomes:
    """Train; whoever takes the results uses the global generators meanwhile."""
    found = []
    for measured in train(lesson, epochs, seed=SEED, metrics=metrics, results_per_epoch=per, after=after):
        found.append((replace(measured, train_seconds=0, valid_seconds=0), save(lesson)))
        use_generators()
    return found


def use_generators() -> None:
    """Leave the global generators where nobody expects them."""
    torch.seed()
    random.seed()
    np.random.seed()


def accuracy(out: Tensor, yb: Tensor) -> Tensor:
    return out.argmax(1) == yb


METRICS: Metrics = {"valid_accuracy": accuracy}
X = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
TRAIN, VALID = TensorDataset(X[:70], Y[:70]), TensorDataset(X[70:], Y[70:])
"""Nine batches of eight, the last with six; and two of sixteen, the last with fourteen."""


def layers(dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def lesson_of(
    model: Any, train_dl: Any = None, opt: Any = None, loss_func: Any = F.cross_entropy, **more: Any
) -> Lesson:
    """A lesson on the data above; by SGD with momentum unless another optimizer is given."""
    own, valid_dl = get_data(TRAIN, VALID, 8)
    opt = opt or torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return Lesson(model, loss_func, opt, train_dl or own, more.pop("valid_dl", valid_dl), **more)
