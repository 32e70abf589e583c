"""Levels 1 to 9 of the tutorial, one function a level: logistic regression, each time with one more piece
of torch.nn. Read it from top to bottom, like the tutorial; the loop that puts the pieces to work is
`training.fit`. https://pytorch.org/tutorials/beginner/nn_tutorial.html
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from tune_app.task.lesson import Batch, Data, Hyperparameters, Lesson

# ---- 1 scratch: weights and bias as plain tensors, everything else by hand -----------------------------


def scratch(hp: Hyperparameters, data: Data) -> Lesson:
    """Plain tensors, own activation and own loss; gradients applied by hand."""
    weights, bias = plain_tensors(data.device)

    def model(xb: Tensor) -> Tensor:
        return log_softmax(xb @ weights + bias)

    opt = UpdateByName(weights, bias, hp.lr)
    return Lesson(model, {"weights": weights, "bias": bias}, nll, opt, *slices(data, hp.bs))


def plain_tensors(device: torch.device) -> tuple[Tensor, Tensor]:
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
    """Training and validation batches cut from the tensors in file order."""
    x_train, y_train, x_valid, y_valid = data.x_train, data.y_train, data.x_valid, data.y_valid
    return (
        Slices(lambda start_i, end_i: (x_train[start_i:end_i], y_train[start_i:end_i]), len(x_train), bs),
        Slices(lambda start_i, end_i: (x_valid[start_i:end_i], y_valid[start_i:end_i]), len(x_valid), bs),
    )


class Slices:
    """Batches in file order: `cut(start_i, end_i)` gives xb and yb."""

    def __init__(self, cut: Callable[[int, int], Batch], n: int, bs: int) -> None:
        self.cut, self.n, self.bs = cut, n, bs

    def __len__(self) -> int:
        return (self.n - 1) // self.bs + 1

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:  # noqa: ARG002 (every epoch is the same)
        """The batches from number `first` on."""
        for i in range(first, len(self)):
            start_i = i * self.bs
            end_i = start_i + self.bs
            yield self.cut(start_i, end_i)


# ---- 2 functional: torch's own loss, which includes the activation -------------------------------------


def functional(hp: Hyperparameters, data: Data) -> Lesson:
    """`F.cross_entropy` in place of log_softmax and nll."""
    weights, bias = plain_tensors(data.device)

    def model(xb: Tensor) -> Tensor:
        return xb @ weights + bias

    opt = UpdateByName(weights, bias, hp.lr)
    return Lesson(model, {"weights": weights, "bias": bias}, F.cross_entropy, opt, *slices(data, hp.bs))


# ---- 3 module: an nn.Module holds the parameters, and the update loops over them -----------------------


def module(hp: Hyperparameters, data: Data) -> Lesson:
    """`nn.Module` and `nn.Parameter`."""
    model = MnistLogisticByHand().to(data.device)
    opt = UpdateAll(model, hp.lr)
    return Lesson(model, named(model), F.cross_entropy, opt, *slices(data, hp.bs))


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


def named(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters by name."""
    return dict(model.named_parameters())


# ---- 4 linear: nn.Linear holds weights and bias, with PyTorch's own initialisation ---------------------


def linear(hp: Hyperparameters, data: Data) -> Lesson:
    """`nn.Linear`."""
    model = MnistLogistic().to(data.device)
    opt = UpdateAll(model, hp.lr)
    return Lesson(model, named(model), F.cross_entropy, opt, *slices(data, hp.bs))


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


def optim(hp: Hyperparameters, data: Data) -> Lesson:
    """`torch.optim.SGD`."""
    model = MnistLogistic().to(data.device)
    return Lesson(model, named(model), F.cross_entropy, sgd(model, hp), *slices(data, hp.bs))


def sgd(model: nn.Module, hp: Hyperparameters) -> torch.optim.SGD:
    """SGD over all parameters of the model."""
    return torch.optim.SGD(model.parameters(), lr=hp.lr, momentum=hp.momentum, weight_decay=hp.weight_decay)


# ---- 6 dataset: images and labels in one TensorDataset -------------------------------------------------


def dataset(hp: Hyperparameters, data: Data) -> Lesson:
    """`TensorDataset`: one slice gives xb and yb."""
    train_ds, valid_ds = datasets(data)
    model = MnistLogistic().to(data.device)
    train_dl = Slices(lambda start_i, end_i: train_ds[start_i:end_i], len(train_ds), hp.bs)
    valid_dl = Slices(lambda start_i, end_i: valid_ds[start_i:end_i], len(valid_ds), hp.bs)
    return Lesson(model, named(model), F.cross_entropy, sgd(model, hp), train_dl, valid_dl)


def datasets(data: Data) -> tuple[TensorDataset, TensorDataset]:
    """Training and validation data as datasets."""
    return TensorDataset(data.x_train, data.y_train), TensorDataset(data.x_valid, data.y_valid)


# ---- 7 dataloader: a DataLoader hands out the batches --------------------------------------------------


def dataloader(hp: Hyperparameters, data: Data) -> Lesson:
    """`DataLoader`, still in file order."""
    train_ds, valid_ds = datasets(data)
    model = MnistLogistic().to(data.device)
    train_dl, valid_dl = Loader(train_ds, hp.bs), Loader(valid_ds, hp.bs)
    return Lesson(model, named(model), F.cross_entropy, sgd(model, hp), train_dl, valid_dl)


class BatchOrder(Sampler[Tensor]):
    """The indices of each batch of one epoch: in file order, or shuffled by (seed, epoch) alone.

    A sampler of whole batches, so that the loader cuts a batch out of the dataset at once instead of
    collecting single images, which takes twice as long as training on them.
    """

    def __init__(self, n: int, bs: int, seed: int | None) -> None:
        self.n, self.bs, self.seed = n, bs, seed
        self.epoch, self.first = 0, 0

    def __len__(self) -> int:
        return (self.n - 1) // self.bs + 1

    def __iter__(self) -> Iterator[Tensor]:
        if self.seed is None:
            order = torch.arange(self.n)
        else:
            # Mixed, not added: epoch 1 of seed 1 must not be epoch 0 of seed 2.
            (mixed,) = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1)
            order = torch.randperm(self.n, generator=torch.Generator().manual_seed(int(mixed)))
        yield from torch.split(order, self.bs)[self.first :]


class Loader:
    """A DataLoader that can begin at any batch of any epoch."""

    def __init__(self, ds: TensorDataset, bs: int, seed: int | None = None) -> None:
        self.order = BatchOrder(len(ds), bs, seed)
        self.dl: DataLoader[tuple[Tensor, ...]] = DataLoader(
            ds,
            sampler=self.order,
            batch_size=None,
            generator=torch.Generator(),  # or it would draw a number nobody needs from the global generator
        )

    def __len__(self) -> int:
        return len(self.order)

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batches number `first` and later of `epoch`."""
        self.order.epoch, self.order.first = epoch, first
        yield from self.dl


# ---- 8 validation: shuffled training batches, validation batches twice as large, train and eval modes --


def validation(hp: Hyperparameters, data: Data) -> Lesson:
    """Shuffling for training; no shuffling and twice the batch size for validation."""
    train_ds, valid_ds = datasets(data)
    model = MnistLogistic().to(data.device)
    train_dl = Loader(train_ds, hp.bs, seed=data.seed)
    valid_dl = Loader(valid_ds, hp.bs * 2)
    return Lesson(model, named(model), F.cross_entropy, sgd(model, hp), train_dl, valid_dl)


# ---- 9 fit: get_data, get_model and fit make it three lines (`loss_batch` and `fit`: training.py) ------


def fit(hp: Hyperparameters, data: Data) -> Lesson:
    """`get_data` and a model; from here on a level changes the model or the data, nothing else."""
    train_dl, valid_dl = get_data(*datasets(data), hp.bs, data.seed)
    model = MnistLogistic().to(data.device)
    return Lesson(model, named(model), F.cross_entropy, sgd(model, hp), train_dl, valid_dl)


def get_data(train_ds: TensorDataset, valid_ds: TensorDataset, bs: int, seed: int) -> tuple[Loader, Loader]:
    """Shuffled training batches and validation batches of twice the size."""
    return Loader(train_ds, bs, seed), Loader(valid_ds, bs * 2)
