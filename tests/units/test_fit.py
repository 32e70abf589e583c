"""The loop that trains any lesson: exact when it goes on, whatever it is made of."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tune_app.task.loop import Lesson, get_data
from tune_app.task.loop.chance import seeded
from tune_app.task.loop.fit import Measured, train
from tune_app.task.loop.state import check_round_trip, save

pytestmark = pytest.mark.usefixtures("one_thread")

Build = Callable[[], Lesson]
SEED = 7


def accuracy(out: Tensor, yb: Tensor) -> Tensor:
    return out.argmax(1) == yb


def whole(build: Build, epochs: float = 2, per: int = 3, metrics: Mapping[str, Any] | None = None) -> Any:
    """Every result of a training without its durations, each with the state after it."""
    lesson = built(build)
    return [(outcome(m), save(lesson)) for m in results(lesson, epochs, per, 0, metrics)]


def built(build: Build) -> Lesson:
    with seeded(SEED):
        return build()


def results(lesson: Lesson, epochs: float, per: int, after: int, metrics: Mapping[str, Any] | None = None) -> Any:
    metrics = {"valid_accuracy": accuracy} if metrics is None else metrics
    return train(lesson, epochs, seed=SEED, metrics=metrics, results_per_epoch=per, after=after)


def outcome(measured: Measured) -> Measured:
    return replace(measured, train_seconds=0, valid_seconds=0)


def resumed(build: Build, after: int, saved: bytes, epochs: float = 2, per: int = 3) -> Any:
    """The same from a state on."""
    lesson = built(build)
    check_round_trip(lesson, saved)
    return [(outcome(m), save(lesson)) for m in results(lesson, epochs, per, after)]


def data() -> tuple[TensorDataset, TensorDataset]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 6, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return TensorDataset(x[:70], y[:70]), TensorDataset(x[70:], y[70:])


def mlp() -> Lesson:
    train_dl, valid_dl = get_data(*data(), bs=8)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    opt = torch.optim.AdamW(model.parameters(), 0.01)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.01, total_steps=2 * len(train_dl))
    return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl, each_batch=sched)


def test_a_training_goes_on_exactly_from_every_result():
    full = whole(mlp)
    assert len(full) == 6
    for k, (_, saved) in enumerate(full, 1):
        assert resumed(mlp, k, saved) == full[k:]
