"""The loop: trains a lesson, measures it, and goes on from any result exactly as if nothing had interrupted it.

The outcome is a function of the lesson and the seed alone (and of torch's version, its thread count and the CPU
model, which round differently). No generator is kept: each is seeded anew before an epoch, before the batches of
each further result of the epoch, and before every validation.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .batches import pairs
from .build import usable
from .chance import Generator, mixed, reseed, seeded
from .lesson import Lesson, count_parameters, end_workers, own_generators, place, train_mode
from .measure import Metric, evaluate, name_of, number, weighted_mean
from .measured import Measured

LOSS = "valid_loss"
"""The metric that every lesson has."""


def train(
    lesson: Lesson,
    epochs: float,
    *,
    seed: int,
    metrics: Mapping[str, Metric],
    results_per_epoch: int = 1,
    after: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[Measured]:
    """Train up to `epochs` and give a result `results_per_epoch` times an epoch.

    after: the number of the last result that the lesson already holds (its state was loaded); 0 to begin. The state
    that belongs to a result is the lesson's when the result is given. Values may be infinite or nan.
    Raises `ValueError` and `TypeError` for what a lesson must not do, each in one sentence.
    """
    due = batches_due(len(lesson.train_dl), results_per_epoch)
    place(lesson, device)
    numbers = range(after + 1, round(epochs * results_per_epoch) + 1)
    for k, train_loss, items, seconds in trained(lesson, numbers, due, seed, device):
        start = time.perf_counter()
        found = evaluate(lesson, metrics, device)
        if k % results_per_epoch == 0:
            step_schedule(lesson, found.loss)
        yield Measured(
            k=k,
            epoch=k / results_per_epoch,
            valid={name: found.mean(name) for name in metrics} | {LOSS: found.loss},
            train_loss=train_loss,
            items=items,
            train_seconds=seconds,
            valid_seconds=time.perf_counter() - start,
            parameters=count_parameters(lesson),
        )


def trained(
    lesson: Lesson, numbers: Sequence[int], due: Sequence[int], seed: int, device: torch.device | str
) -> Iterator[tuple[int, float, int, float]]:
    """Train on the batches of one result after the other: its number, the mean loss, the items and the seconds.

    due: see `batches_due`.
    """
    end_workers(lesson)
    own = own_generators(lesson)
    batches: Iterator[Any] = iter(())
    for k in numbers:
        epoch, j = divmod(k - 1, len(due) - 1)
        seeds = [mixed(seed, epoch, i) for i in range(j + 1)]
        start = time.perf_counter()
        with seeded(seeds[j], own):
            if j == 0 or k == numbers[0]:
                batches = opened(lesson, due, seeds, own)
            if j > 0:
                start = time.perf_counter()  # to load what is skipped is no training
            train_loss, items = train_on(lesson, islice(batches, due[j + 1] - due[j]), device)
        yield k, train_loss, items, time.perf_counter() - start


def batches_due(per_epoch: int, results_per_epoch: int) -> list[int]:
    """The number of batches of an epoch before its j-th result, for j from 0.

    Raises `ValueError` where an epoch has fewer batches than results.
    """
    if per_epoch < results_per_epoch:
        raise ValueError(
            f"an epoch has {per_epoch} batches, fewer than the {results_per_epoch} results per epoch asked for;"
            " allowed: a smaller bs or fewer results per epoch"
        )
    return [math.ceil(per_epoch * j / results_per_epoch) for j in range(results_per_epoch + 1)]


def opened(lesson: Lesson, due: Sequence[int], seeds: Sequence[int], own: Sequence[Generator]) -> Iterator[Any]:
    """The batches of an epoch from the part on whose seed is the last of `seeds`.

    Those before are loaded, since what they draw has to be drawn, and the generators are seeded anew where they are
    in a training without interruption, since a sampler may draw late.
    """
    reseed(seeds[0], own)
    batches = iter(lesson.train_dl)
    for i in range(1, len(seeds)):
        for _ in islice(batches, due[i] - due[i - 1]):
            pass
        reseed(seeds[i], own)
    return batches


def train_on(lesson: Lesson, batches: Iterator[Any], device: torch.device | str) -> tuple[float, int]:
    """Train on batches; the mean loss and the number of items."""
    train_mode(lesson, True)
    losses, sizes = [], []
    for xb, yb, n in pairs(batches, "train_dl", device):
        losses.append(loss_batch(lesson, xb, yb))
        sizes.append(n)
        if lesson.each_batch is not None:
            lesson.each_batch.step()
    if not losses:
        raise ValueError("train_dl ended before its length, allowed: as many batches as len(train_dl) says")
    return weighted_mean(losses, sizes), sum(sizes)


def loss_batch(lesson: Lesson, xb: Any, yb: Any) -> float:
    """Train on one batch; its loss.

    The loss as a number: small tensors kept between the batches would leave holes in the heap too small for the
    next batch, 100 MB of them in an epoch.
    """
    if lesson.step is not None:
        return number(lesson.step(xb, yb), "step")
    loss = lesson.loss_func(lesson.model(xb), yb)
    value = number(loss, "loss_func")
    if not loss.requires_grad:
        raise ValueError(
            "the loss has no gradient, allowed: a loss computed from parameters that require gradients"
        )
    loss.backward()  # type: ignore[no-untyped-call]
    lesson.opt.step()
    lesson.opt.zero_grad()
    return value


def step_schedule(lesson: Lesson, valid_loss: float) -> None:
    """The schedule's step at an epoch's end."""
    if isinstance(lesson.each_epoch, ReduceLROnPlateau):
        lesson.each_epoch.step(valid_loss)
    elif lesson.each_epoch is not None:
        lesson.each_epoch.step()


def fit(
    lesson: Lesson,
    epochs: float,
    *,
    seed: int = 0,
    metrics: Sequence[Metric] = (),
    device: torch.device | str | None = None,
) -> None:
    """Train a lesson and print a line an epoch; on a GPU if there is one, unless a device is given.

    Raises what `train` raises.
    """
    device = device or usable("cuda")
    by_name = {name_of(metric): metric for metric in metrics}
    for result in train(lesson, epochs, seed=seed, metrics=by_name, device=device):
        numbers = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in result.valid.items())
        print(f"epoch {result.epoch:g}: {numbers}")
