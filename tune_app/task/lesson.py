"""What a level of the tutorial trains with: the pieces that the levels build and `training.fit` uses.

Images come as rows of 784 uint8 pixels and stay so until a batch is trained on: `training.scaled` makes
the floats, pixel / 256, that the tutorial's file holds. Nothing writes into the images: all trials of a
machine share them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""xb: (n, 784) or (n, 1, 28, 28) uint8; yb: (n,) int64."""


@dataclass(frozen=True)
class Hyperparameters:
    """What a level is built with; it uses those that it has (see `levels.py`)."""

    lr: float
    bs: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    width: int = 1


@dataclass(frozen=True)
class Data:
    """Images x (n, 784) uint8 and labels y (n,) int64; `device` computes, `seed` shuffles."""

    x_train: Tensor
    y_train: Tensor
    x_valid: Tensor
    y_valid: Tensor
    device: torch.device
    seed: int


class Batches(Protocol):
    """The batches of any epoch, from any batch on: a function of (seed, epoch) alone."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batches number `first` and later of `epoch`, both counted from 0."""


class Optimizer(Protocol):
    """What the tutorial uses of an optimizer."""

    def step(self) -> object:
        """Update the parameters from their gradients."""

    def zero_grad(self) -> object:
        """Forget the gradients."""


@dataclass(frozen=True)
class Lesson:
    """What one level trains with. `parameters`: the tensors that training changes, by name."""

    model: Callable[[Tensor], Tensor]
    parameters: dict[str, Tensor]
    loss_func: Callable[[Tensor, Tensor], Tensor]
    opt: Optimizer
    train_dl: Batches
    valid_dl: Batches
