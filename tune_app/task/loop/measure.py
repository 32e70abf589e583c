"""Evaluate a lesson: its loss and its metrics on its valid data."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batches import item, joined, leaves, mapped, on_cpu, pairs
from .chance import seeded
from .lesson import Lesson, end_workers, own_generators, train_mode

Metric = Callable[[Any, Any], Any]
"""A function of (out, yb) that gives a value for each item, (n,), or one number for all of them."""
SEED = 0
"""The seed of every validation: a variational autoencoder draws random numbers there."""
RESAMPLES = 1000
"""The sets of items that an interval of a metric over all of them rests on."""
MOST_RESAMPLING = 60.0
"""The seconds after which such a metric is too slow to have one."""


@dataclass(frozen=True)
class Evaluation:
    """A lesson measured on the n items of its valid_dl.

    loss: the mean. losses: of each item (n,), where they were asked for and can be had. values: by the name of the
    metric, its value for each item (n,), or its one number. resampled: see the function; only if asked for.
    """

    n: int
    loss: float
    losses: NDArray[np.float64] | None
    values: Mapping[str, NDArray[np.generic] | float]
    resampled: Mapping[str, NDArray[np.float64]]

    def mean(self, name: str) -> float:
        """A metric's mean over the items, or its one number. Sums of whole numbers and truths are exact."""
        value = self.values[name]
        return float(np.sum(value) / self.n) if isinstance(value, np.ndarray) else value


@torch.no_grad()
def evaluate(
    lesson: Lesson, metrics: Mapping[str, Metric], device: torch.device | str = "cpu", *, intervals: bool = False
) -> Evaluation:
    """Measure a lesson on its valid_dl, always with the same random numbers.

    metrics: by name; those that give a value for each item are called with each batch, others once with everything,
    on the CPU. intervals: find the loss of each item, too, and one number again for items that are `resampled`.
    Raises `ValueError` for a metric of another shape.
    """
    losses, sizes, each = list[float](), list[int](), list[float]()
    by_item: dict[str, list[Any]] = {}
    everything: list[tuple[Any, Any]] = []
    for out, yb, n, loss in outputs(lesson, device):
        if not sizes:
            by_item = {name: [] for name, metric in metrics.items() if is_by_item(metric, out, yb)}
        losses.append(loss)
        sizes.append(n)
        for name, found in by_item.items():
            found += values(metrics[name], out, yb, (n,)).tolist()  # small tensors would leave holes in the heap
        if len(by_item) < len(metrics):
            everything.append(mapped(on_cpu, (out, yb)))
        if intervals:
            each += item_losses(lesson.loss_func, out, yb, n, loss)
    if not sizes:
        raise ValueError("valid_dl gave no batch, allowed: as many batches as its length says")
    n = sum(sizes)
    whole = mapped(joined, *everything) if everything else ()
    of_all = {name: values(metric, *whole, (n,), ()) for name, metric in metrics.items() if name not in by_item}
    found_by = {name: found.numpy() if found.dim() else found.item() for name, found in of_all.items()}
    return Evaluation(
        n=n,
        loss=weighted_mean(losses, sizes),
        losses=np.array(each) if len(each) == n else None,
        values={name: np.array(by_item[name]) if name in by_item else found_by[name] for name in metrics},
        resampled={
            name: drawn
            for name, found in found_by.items()
            if intervals and not isinstance(found, np.ndarray) and len(drawn := resampled(metrics[name], whole, n))
        },
    )


def outputs(lesson: Lesson, device: torch.device | str) -> Iterator[tuple[Any, Any, int, float]]:
    """The output of the model, yb, the number of items and the loss, for each batch of valid_dl."""
    end_workers(lesson)
    train_mode(lesson, False)
    with seeded(SEED, own_generators(lesson)):
        for xb, yb, n in pairs(lesson.valid_dl, "valid_dl", device):
            out = lesson.model(xb)
            yield out, yb, n, number(lesson.loss_func(out, yb), "loss_func")
    train_mode(lesson, True)


def is_by_item(metric: Metric, out: Any, yb: Any) -> bool:
    """True if a metric gives more than one number for a batch.

    One that fails there is called with everything: a batch can lack a class. A mistake then fails again.
    """
    try:
        return torch.as_tensor(metric(out, yb)).dim() > 0
    except Exception:
        return False


def values(metric: Metric, out: Any, yb: Any, *shapes: tuple[int, ...]) -> Tensor:
    """The value of a metric on the CPU, fractions as float64; `ValueError` for a shape that is not allowed.

    (n, 1) against (n,) broadcasts to (n, n), the mean of which looks like a metric.
    """
    value = metric(out, yb)
    try:
        # By NumPy, since torch would round a number of Python to 32 bits.
        found = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value)).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"the metric {name_of(metric)} gave a {type(value).__name__}, allowed: a tensor or a number"
        ) from None
    if found.shape not in shapes:
        n = shapes[0][0]
        raise ValueError(
            f"the metric {name_of(metric)} gave the shape {tuple(found.shape)} for {n} items,"
            f" allowed: ({n},), a value for each item, or one number for all of them"
        )
    return found.double() if found.is_floating_point() else found


def name_of(metric: Metric) -> str:
    """The function's name."""
    return getattr(metric, "__name__", type(metric).__name__)


def item_losses(loss_func: Metric, out: Any, yb: Any, n: int, loss: float) -> list[float]:
    """The loss of each of a batch's n items; empty where it fails on one, or is not the mean of such losses."""

    def one(i: int) -> float:
        return number(loss_func(*mapped(lambda part: item(part, i, n), (out, yb))), "loss_func")

    try:
        found = [one(i) for i in range(n)]
    except Exception:
        return []
    return found if np.isclose(np.mean(found), loss, rtol=1e-4, atol=1e-6, equal_nan=True) else []


def resampled(metric: Metric, whole: Any, n: int) -> NDArray[np.float64]:
    """A metric over sets of n items, drawn from the n of `whole`, (out, yb), with replacement; always the same.

    Empty where it fails or is not finite on one of the sets (a class may be missing there), where not every part of
    `whole` has n items, and where it is too slow.
    """
    random, begun, found = np.random.default_rng(SEED), time.perf_counter(), list[float]()
    if not all(isinstance(part, Tensor) and len(part) == n for part in leaves(whole)):
        return np.array([])
    while len(found) < RESAMPLES and time.perf_counter() - begun < MOST_RESAMPLING:
        drawn = torch.from_numpy(random.integers(n, size=n))
        try:
            found.append(float(values(metric, *mapped(itemgetter(drawn), whole), (n,), ())))
        except Exception:
            return np.array([])
    return np.array(found if len(found) == RESAMPLES and np.isfinite(found).all() else [])


def number(loss: Tensor | float, source: str) -> float:
    """A loss as a number; `ValueError` where it is not one. source: the function that gave it."""
    if isinstance(loss, int | float):
        return float(loss)
    if not isinstance(loss, Tensor) or loss.dim():
        kind = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"of type {type(loss).__name__}"
        raise ValueError(f"{source} gave a loss {kind}, allowed: one number, the mean over the batch")
    return float(loss.item())


def weighted_mean(losses: Sequence[float], sizes: Sequence[int]) -> float:
    """The mean per item of the losses of batches of these sizes; the last batch may be short."""
    return float(np.sum(np.multiply(losses, sizes)) / np.sum(sizes))
