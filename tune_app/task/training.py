"""The tutorial's loop: train one config, one result after the other, from the start or from a kept state.

The outcome is a function of config, seed and data alone (and of torch's version, its thread count and the
CPU model, which round differently): initialisation and batch order have generators of their own, and a
training that goes on from a kept state gives the results it would have given.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tune_app.errors import TuneAppError
from tune_app.task.lesson import Data, Hyperparameters, Lesson, Optimizer
from tune_app.task.levels import LEVELS, Config
from tune_app.task.result import Result
from tune_app.task.tutorial import cnn, logistic
from tune_app.task.tutorial.mnist import Mnist, Split

MODEL = "model."
"""How the names of weights begin in a state."""
FAMILIES = {"logistic": logistic, "cnn": cnn}
"""Where the code of a family's levels stands: each in a function of the level's name."""


def prepare(config: Config, mnist: Mnist, seed: int, device: torch.device) -> Lesson:
    """Build the level's model and batches; `config` is complete (see `levels.complete`)."""
    level = LEVELS[str(config["level"])]
    build: Callable[[Hyperparameters, Data], Lesson] = getattr(FAMILIES[level.family], level.name)
    # Up to level 12 the data are where the model is; level 13 moves each batch itself.
    home = torch.device("cpu") if level.name == "accelerator" else device
    data = Data(*tensors(mnist, home), device=device, seed=seed)
    with torch.random.fork_rng(devices=[]):  # the initialisation draws from torch's global generator
        torch.manual_seed(seed)
        return build(hyperparameters(config), data)


@lru_cache(maxsize=2)
def tensors(mnist: Mnist, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_train, y_train, x_valid, y_valid on a device: on a GPU once a process, whatever is trained there."""
    arrays = (mnist.train.x, mnist.train.y, mnist.valid.x, mnist.valid.y)
    x_train, y_train, x_valid, y_valid = (tensor(array).to(device) for array in arrays)
    return x_train, y_train, x_valid, y_valid


def hyperparameters(config: Config) -> Hyperparameters:
    """The numbers of a complete config."""
    return Hyperparameters(**{k: v for k, v in config.items() if k != "level"})  # type: ignore[arg-type]


def tensor(array: NDArray[np.generic]) -> Tensor:
    """A tensor on the array's own memory; the array may be read-only, so the tensor must not be changed."""
    return torch.utils.dlpack.from_dlpack(array)


def scaled(xb: Tensor) -> Tensor:
    """Uint8 pixels -> float32 in [0, 1): pixel / 256, as in the tutorial's file. Makes a new tensor."""
    return xb / 256


def loss_batch(
    model: Callable[[Tensor], Tensor],
    loss_func: Callable[[Tensor, Tensor], Tensor],
    xb: Tensor,
    yb: Tensor,
    opt: Optimizer,
) -> tuple[float, int]:
    """Train on one batch; its loss and its number of images.

    The loss as a number: small tensors kept between the batches would leave holes in the heap too small
    for the next batch, 100 MB of them in an epoch.
    """
    loss = loss_func(model(xb), yb)
    loss.backward()  # type: ignore[no-untyped-call]
    opt.step()
    opt.zero_grad()
    return loss.item(), len(xb)


def fit(lesson: Lesson, max_epochs: float, results_per_epoch: int, after: int = 0) -> Iterator[Result]:
    """Train up to `max_epochs` and yield a `Result` `results_per_epoch` times an epoch.

    `after`: the number of the last result that `lesson` already holds (its state was loaded); 0 to begin.
    Raises `TuneAppError` where an epoch has fewer batches than results.
    """
    per_epoch = len(lesson.train_dl)
    if per_epoch < results_per_epoch:
        raise TuneAppError(
            f"an epoch has {per_epoch} batches, fewer than the {results_per_epoch} results per epoch asked for;"
            " allowed: a smaller bs or fewer results per epoch"
        )
    # Batches of an epoch that have been trained on when its j-th result is due.
    due = [math.ceil(per_epoch * j / results_per_epoch) for j in range(results_per_epoch + 1)]
    train_mode(lesson, True)
    batches: Iterator[tuple[Tensor, Tensor]] = iter(())
    for k in range(after + 1, round(max_epochs * results_per_epoch) + 1):
        epoch, j = divmod(k - 1, results_per_epoch)
        if j == 0 or k == after + 1:
            batches = lesson.train_dl.batches(epoch, due[j])
        start = time.perf_counter()
        losses, nums = zip(
            *(
                loss_batch(lesson.model, lesson.loss_func, scaled(xb), yb, lesson.opt)
                for xb, yb in islice(batches, due[j + 1] - due[j])
            ),
            strict=True,
        )
        train_loss = weighted_mean(losses, nums)
        trained = time.perf_counter()
        valid_loss, valid_accuracy = validate(lesson)
        yield Result(
            k=k,
            epoch=k / results_per_epoch,
            valid={"valid_accuracy": valid_accuracy, "valid_loss": valid_loss},
            train_loss=train_loss,
            images=sum(nums),
            train_seconds=trained - start,
            valid_seconds=time.perf_counter() - trained,
            parameters=count_parameters(lesson),
        )


def train(
    config: Config,
    mnist: Mnist,
    seed: int,
    device: torch.device,
    max_epochs: float,
    results_per_epoch: int,
    after: int = 0,
    saved: bytes | None = None,
) -> Iterator[tuple[Result, bytes]]:
    """Train a config from scratch, or from the state `saved` at result `after`; each result with its state.

    Raises `TuneAppError` where `fit` does.
    """
    begun = time.perf_counter()
    lesson = prepare(config, mnist, seed, device)
    if saved is not None:
        load_state(lesson, saved)
    start_seconds = time.perf_counter() - begun
    for result in fit(lesson, max_epochs, results_per_epoch, after):
        yield replace(result, start_seconds=start_seconds), state(lesson)
        start_seconds = 0.0


@torch.no_grad()
def validate(lesson: Lesson) -> tuple[float, float]:
    """Mean loss and accuracy over the validation images."""
    train_mode(lesson, False)
    losses, nums, hits = [], [], 0
    for xb, yb in lesson.valid_dl.batches(0, 0):
        out = lesson.model(scaled(xb))
        losses.append(lesson.loss_func(out, yb).item())
        hits += int((out.argmax(dim=1) == yb).sum())
        nums.append(len(yb))
    train_mode(lesson, True)
    return weighted_mean(losses, nums), hits / sum(nums)


@torch.no_grad()
def evaluate(config: Config, saved: bytes, images: Split) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The cross entropy (n,) of each of any n images, and which are classified rightly (n,), by a trained model.

    saved: as `state` gave it.
    """
    lesson = prepare(config, Mnist(images, images), 0, torch.device("cpu"))
    load_state(lesson, saved)
    train_mode(lesson, False)
    pairs = [(lesson.model(scaled(xb)), yb) for xb, yb in lesson.valid_dl.batches(0, 0)]
    out, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    losses: NDArray[np.float32] = F.cross_entropy(out, labels, reduction="none").numpy()
    hits: NDArray[np.bool_] = (out.argmax(dim=1) == labels).numpy()
    return losses, hits


def weighted_mean(losses: Sequence[float], nums: Sequence[int]) -> float:
    """The mean per image of the losses of batches with `nums` images each; the last batch may be short."""
    return float(np.sum(np.multiply(losses, nums)) / np.sum(nums))


def train_mode(lesson: Lesson, mode: bool) -> None:
    """model.train() or model.eval(), where the model is a module (levels 1 and 2 are plain functions)."""
    if isinstance(lesson.model, torch.nn.Module):
        lesson.model.train(mode)


def state(lesson: Lesson) -> bytes:
    """Weights and momenta as safetensors: with the number of the last result, all that `fit` needs."""
    tensors = {f"{MODEL}{name}": p.detach() for name, p in lesson.parameters.items()}
    tensors |= {f"momentum.{name}": buffer for name, buffer in momenta(lesson).items()}
    return safetensors.numpy.save({name: t.cpu().numpy().copy() for name, t in tensors.items()})


def load_state(lesson: Lesson, saved: bytes) -> None:
    """Put `state` back into a lesson of the same config."""
    tensors = {name: torch.tensor(array) for name, array in safetensors.numpy.load(saved).items()}
    with torch.no_grad():
        for name, p in lesson.parameters.items():
            p.copy_(tensors[f"{MODEL}{name}"])
    if isinstance(lesson.opt, torch.optim.SGD):
        lesson.opt.state.clear()
        for name, p in lesson.parameters.items():
            if f"momentum.{name}" in tensors:
                lesson.opt.state[p]["momentum_buffer"] = tensors[f"momentum.{name}"].to(p.device)


def momenta(lesson: Lesson) -> Mapping[str, Tensor]:
    """SGD's momentum buffers by parameter name; none before the first step or without momentum."""
    if not isinstance(lesson.opt, torch.optim.SGD):
        return {}
    buffers = {name: lesson.opt.state[p].get("momentum_buffer") for name, p in lesson.parameters.items()}
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def count_parameters(lesson: Lesson) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in lesson.parameters.values())
