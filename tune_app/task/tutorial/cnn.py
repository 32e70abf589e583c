"""Levels 10 to 13 of the tutorial, one function a level: the convolutional network. It continues
`logistic.py`; from level 9 on a level changes the model or the data and nothing else.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor, nn

from tune_app.task import Lesson, get_data
from tune_app.task.loop.batches import Loader
from tune_app.task.tutorial.logistic import Batch, Bs, Data, Lr, Momentum, WeightDecay, datasets, sgd

Width = Annotated[int, Interval(ge=1, le=64), "times the channels of the CNN's hidden layers"]

# ---- 10 cnn: three convolutions; nothing else changes --------------------------------------------------


def cnn(
    data: Data,
    *,
    lr: Lr = 0.1,
    bs: Bs = 64,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
    width: Width = 1,
) -> Lesson:
    """Switch to CNN

    Three 3x3 convolutions of stride 2, average pooling over what is left.
    """
    train_dl, valid_dl = get_data(*datasets(data), bs)
    model = MnistCNN(width)
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)


class MnistCNN(nn.Module):
    """1 -> 16 -> 16 -> 10 channels; `width` times as many in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = 16 * width
        self.conv1 = nn.Conv2d(1, channels, kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(channels, 10, kernel_size=3, stride=2, padding=1)

    def forward(self, xb: Tensor) -> Tensor:
        """xb: (n, 784) float -> (n, 10)."""
        xb = xb.view(-1, 1, 28, 28)
        xb = F.relu(self.conv1(xb))
        xb = F.relu(self.conv2(xb))
        xb = F.relu(self.conv3(xb))
        xb = F.avg_pool2d(xb, 4)
        return xb.view(-1, xb.size(1))


# ---- 11 sequential: the same network as a list of layers -----------------------------------------------


def sequential(
    data: Data,
    *,
    lr: Lr = 0.1,
    bs: Bs = 64,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
    width: Width = 1,
) -> Lesson:
    """Using nn.Sequential

    With a `Lambda` layer where torch has none.
    """
    train_dl, valid_dl = get_data(*datasets(data), bs)
    model = nn.Sequential(Lambda(as_images), *convolutions(width), nn.AvgPool2d(4), Lambda(flat))
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)


class Lambda(nn.Module):
    """A layer from a function."""

    def __init__(self, func: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.func = func

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function."""
        return self.func(x)


def as_images(x: Tensor) -> Tensor:
    """(n, 784) -> (n, 1, 28, 28)."""
    return x.view(-1, 1, 28, 28)


def flat(x: Tensor) -> Tensor:
    """(n, 10, 1, 1) -> (n, 10)."""
    return x.view(x.size(0), -1)


def convolutions(width: int) -> list[nn.Module]:
    """The layers of `MnistCNN`."""
    channels = 16 * width
    return [
        nn.Conv2d(1, channels, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 10, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
    ]


# ---- 12 wrapped: the batches are preprocessed by the loader; any single-channel image size -------------


def wrapped(
    data: Data,
    *,
    lr: Lr = 0.1,
    bs: Bs = 64,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
    width: Width = 1,
) -> Lesson:
    """Wrapping DataLoader

    `WrappedDataLoader` and `AdaptiveAvgPool2d`.
    """

    def preprocess(x: Tensor, y: Tensor) -> Batch:
        return x.view(-1, 1, 28, 28), y

    model = of_any_size(width)
    train_dl, valid_dl = (WrappedDataLoader(dl, preprocess) for dl in get_data(*datasets(data), bs))
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)


def of_any_size(width: int) -> nn.Module:
    """The CNN without assumptions about the size of an image: those are in `preprocess`."""
    return nn.Sequential(*convolutions(width), nn.AdaptiveAvgPool2d(1), Lambda(flat))


class WrappedDataLoader:
    """A loader whose batches go through a function."""

    def __init__(self, dl: Loader, func: Callable[[Tensor, Tensor], Batch]) -> None:
        self.dl, self.func = dl, func

    def __len__(self) -> int:
        return len(self.dl)

    def __iter__(self) -> Iterator[Batch]:
        for b in self.dl:
            yield self.func(*b)


# ---- 13 accelerator: batches move to the device one by one ---------------------------------------------


def accelerator(
    data: Data,
    *,
    device: str,
    lr: Lr = 0.1,
    bs: Bs = 64,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
    width: Width = 1,
) -> Lesson:
    """Using your accelerator

    The level moves model and batches to the device itself, where all others leave that to the loop.
    """

    def preprocess(x: Tensor, y: Tensor) -> Batch:
        return x.view(-1, 1, 28, 28).to(device), y.to(device)

    model = of_any_size(width).to(device)
    train_dl, valid_dl = (WrappedDataLoader(dl, preprocess) for dl in get_data(*datasets(data), bs))
    return Lesson(model, F.cross_entropy, sgd(model, lr, momentum, weight_decay), train_dl, valid_dl)
