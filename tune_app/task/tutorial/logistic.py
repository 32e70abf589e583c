"""Levels 1 to 9 of the tutorial, one function a level: logistic regression, each time with one more piece
of torch.nn. Read it from top to bottom, like the tutorial; the loop that puts the pieces to work is
`fit.py`. https://pytorch.org/tutorials/beginner/nn_tutorial.html
"""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from tune_app.task import Lesson, Maximize, get_data

BASELINE = "cnn"
Batch = tuple[Tensor, Tensor]
"""xb: (n, 784) or (n, 1, 28, 28) float32; yb: (n,) int64."""


class Data(NamedTuple):
    """Images (n, 784) uint8 and labels (n,) int64. Nothing writes into them: all trials share them."""

    train: Batch
    valid: Batch


Lr = Annotated[float, Interval(gt=0, le=1000), "learning rate"]
Bs = Annotated[int, Interval(ge=1, le=100_000), "batch size"]
Momentum = Annotated[float, Interval(ge=0, lt=1), "momentum of SGD"]
WeightDecay = Annotated[float, Interval(ge=0, le=1), "L2 penalty of SGD"]


def accuracy(out: Tensor, yb: Tensor) -> Annotated[Maximize, Interval(ge=0, le=1)]:
    """Which images are classified rightly: (n,) bool."""
    return out.argmax(dim=1) == yb


# ---- 1 scratch: weights and bias as plain tensors, everything else by hand -----------------------------


def scratch(data: Data, *, device: str, lr: Lr = 0.5, bs: Bs = 64) -> Lesson:
    """Neural net from scratch (without torch.nn)

    Plain tensors, own activation and own loss; gradients applied by hand.
    """
    weights, bias = plain_tensors(device)

    def model(xb: Tensor) -> Tensor:
        return log_softmax(xb @ weights + bias)

    opt = UpdateByName(weights, bias, lr)
    return Lesson(model, nll, opt, *slices(data, bs), keeps={"weights": weights, "bias": bias})


def plain_tensors(device: str) -> tuple[Tensor, Tensor]:
    """Xavier initialisation: weights (784, 10) divided by sqrt(784), bias (10,) of zeros."""
    weights = (torch.randn(784, 10) / math.sqrt(784)).to(device)
    weights.requires_grad_()
    bias = torch.zeros(10, device=device, requires_grad=True)
    return weights, bias


def log_softmax(x: Tensor) -> Tensor:
    """As the tutorial writes it: it overflows for activations above 88, which a large lr reaches."""
    return x - x.exp().sum(-1).log().unsqueeze(-1)


def nll(input: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood."""
    return -input[range(target.shape[0]), target].mean()


class UpdateByName:
    """The tutorial's first update: each tensor by name, its gradient set to zero afterwards."""

    def __init__(self, weights: Tensor, bias: Tensor, lr: float) -> None:
        self.weights, self.bias, self.lr = weights, bias, lr

    @torch.no_grad()
    def step(self) -> None:
        """Subtract the gradient times the learning rate."""
        assert self.weights.grad is not None
        assert self.bias.grad is not None
        self.weights -= self.weights.grad * self.lr
        self.bias -= self.bias.grad * self.lr

    def zero_grad(self) -> None:
        """Without this, backward() would add to the gradients of the batch before."""
        assert self.weights.grad is not None
        assert self.bias.grad is not None
        self.weights.grad.zero_()
        self.bias.grad.zero_()


def slices(data: Data, bs: int) -> tuple["Slices", "Slices"]:
    """Training and validation batches cut from the tensors in file order; pixels become floats in [0, 1)."""
    (x_train, y_train), (x_valid, y_valid) = data
    return (
        Slices(lambda start_i, end_i: (x_train[start_i:end_i] / 256, y_train[start_i:end_i]), len(x_train), bs),
        Slices(lambda start_i, end_i: (x_valid[start_i:end_i] / 256, y_valid[start_i:end_i]), len(x_valid), bs),
    )


class Slices:
    """Batches in file order: `cut(start_i, end_i)` gives xb and yb."""

    def __init__(self, cut: Callable[[int, int], Batch], n: int, bs: int) -> None:
        self.cut, self.n, self.bs = cut, n, bs

    def __len__(self) -> int:
        return (self.n - 1) // self.bs + 1

    def __iter__(self) -> Iterator[Batch]:
        for i in range(len(self)):
            start_i = i * self.bs
            end_i = start_i + self.bs
            yield self.cut(start_i, end_i)


# ---- 2 functional: torch's own loss, which includes the activation -------------------------------------


def functional(data: Data, *, device: str, lr: Lr = 0.5, bs: Bs = 64) -> Lesson:
    """Using torch.nn.functional

    `F.cross_entropy` in place of log_softmax and nll.
    """
    weights, bias = plain_tensors(device)

    def model(xb: Tensor) -> Tensor:
        return xb @ weights + bias

    opt = UpdateByName(weights, bias, lr)
    return Lesson(model, F.cross_entropy, opt, *slices(data, bs), keeps={"weights": weights, "bias": bias})


# ---- 3 module: an nn.Module holds the parameters, and the update loops over them -----------------------


def module(data: Data, *, lr: Lr = 0.5, bs: Bs = 64) -> Lesson:
    """Refactor using nn.Module

    `nn.Module` and `nn.Parameter`.
    """
    model = MnistLogisticByHand()
    return Lesson(model, F.cross_entropy, UpdateAll(model, lr), *slices(data, bs))


class MnistLogisticByHand(nn.Module):
    """Logistic regression over parameters that the module holds."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(784, 10) / math.sqrt(784))
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, xb: Tensor) -> Tensor:
        """xb: (n, 784) float -> (n, 10)."""
        return xb @ self.weights + self.bias


class UpdateAll:
    """The tutorial's second update: whatever parameters the model has."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.model, self.lr = model, lr

    @torch.no_grad()
    def step(self) -> None:
        """Subtract each gradient times the learning rate."""
        for p in self.model.parameters():
            assert p.grad is not None
            p -= p.grad * self.lr  # type: ignore[misc]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.model.zero_grad()


# ---- 4 linear: nn.Linear holds weights and bias, with PyTorch's own initialisation ---------------------


def linear(data: Data, *, lr: Lr = 0.5, bs: Bs = 64) -> Lesson:
    """Refactor using nn.Linear"""
    model = MnistLogistic()
    return Lesson(model, F.cross_entropy, UpdateAll(model, lr), *slices(data, bs))


class MnistLogistic(nn.Module):
    """Logistic regression by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(784, 10)

    def forward(self, xb: Tensor) -> Tensor:
        """xb: (n, 784) float -> (n, 10)."""
        out: Tensor = self.lin(xb)
        return out


# ---- 5 optim: torch.optim makes the update -------------------------------------------------------------


def optim(
    data: Data, *, lr: Lr = 0.5, bs: Bs = 64, momentum: Momentum = 0.0, weight_decay: WeightDecay = 0.0
) -> Lesson:
    """Refactor using torch.optim"""
    model = MnistLogistic()
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), *slices(data, bs))


def sgd(model: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over all parameters of the model."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)


# ---- 6 dataset: images and labels in one TensorDataset -------------------------------------------------


def dataset(
    data: Data, *, lr: Lr = 0.5, bs: Bs = 64, momentum: Momentum = 0.0, weight_decay: WeightDecay = 0.0
) -> Lesson:
    """Refactor using Dataset

    One slice gives xb and yb.
    """
    train_ds, valid_ds = datasets(data)
    model = MnistLogistic()
    train_dl = Slices(lambda start_i, end_i: train_ds[start_i:end_i], len(train_ds), bs)
    valid_dl = Slices(lambda start_i, end_i: valid_ds[start_i:end_i], len(valid_ds), bs)
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)


def datasets(data: Data) -> tuple["Images", "Images"]:
    """Training and validation data as datasets."""
    return Images(*data.train), Images(*data.valid)


class Images(TensorDataset):
    """Images that are kept as uint8 and given as float32 in [0, 1): pixel / 256, as in the tutorial's file."""

    def __getitem__(self, index: slice | Tensor) -> Batch:
        """The images and labels of a batch."""
        x, y = self.tensors
        return x[index] / 256, y[index]


# ---- 7 dataloader: a DataLoader hands out the batches --------------------------------------------------


def dataloader(
    data: Data, *, lr: Lr = 0.5, bs: Bs = 64, momentum: Momentum = 0.0, weight_decay: WeightDecay = 0.0
) -> Lesson:
    """Refactor using DataLoader

    The batches are still in file order.
    """
    train_ds, valid_ds = datasets(data)
    model = MnistLogistic()
    train_dl, valid_dl = loader(train_ds, bs), loader(valid_ds, bs)
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)


def loader(ds: Images, bs: int, shuffle: bool = False) -> DataLoader[Batch]:
    """A loader that cuts each batch out of the dataset at once: collecting single images takes twice as long as
    training on them.
    """
    # With a generator of its own it draws no number that nobody needs from the global one.
    order = BatchOrder(len(ds), bs, shuffle)
    return DataLoader(ds, sampler=order, batch_size=None, generator=torch.Generator())  # type: ignore[arg-type]


class BatchOrder(Sampler[Tensor]):
    """The indices of each batch of an epoch: in file order, or shuffled."""

    def __init__(self, n: int, bs: int, shuffle: bool) -> None:
        self.n, self.bs, self.shuffle = n, bs, shuffle

    def __len__(self) -> int:
        return (self.n - 1) // self.bs + 1

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.split(torch.randperm(self.n) if self.shuffle else torch.arange(self.n), self.bs)


# ---- 8 validation: shuffled training batches, validation batches twice as large, train and eval modes --


def validation(
    data: Data, *, lr: Lr = 0.5, bs: Bs = 64, momentum: Momentum = 0.0, weight_decay: WeightDecay = 0.0
) -> Lesson:
    """Add validation

    Shuffling for training; no shuffling and twice the batch size for validation.
    """
    train_ds, valid_ds = datasets(data)
    model = MnistLogistic()
    train_dl = loader(train_ds, bs, shuffle=True)
    valid_dl = loader(valid_ds, bs * 2)
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)


# ---- 9 fit: get_data, get_model and fit make it three lines --------------------------------------------


def fit(
    data: Data, *, lr: Lr = 0.5, bs: Bs = 64, momentum: Momentum = 0.0, weight_decay: WeightDecay = 0.0
) -> Lesson:
    """Create fit() and get_data()

    From here on a level changes the model or the data, nothing else.
    """
    train_dl, valid_dl = get_data(*datasets(data), bs)
    model = MnistLogistic()
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)
