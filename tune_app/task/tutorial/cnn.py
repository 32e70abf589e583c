"""Levels 10 to 13 of the tutorial, one function a level: the convolutional network. It continues
`logistic.py`; from level 9 on a level changes the model or the data and nothing else.
"""

from collections.abc import Callable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from tune_app.task.lesson import Batch, Data, Hyperparameters, Lesson
from tune_app.task.tutorial.logistic import Loader, datasets, get_data, named, sgd

# ---- 10 cnn: three convolutions; nothing else changes --------------------------------------------------


def cnn(hp: Hyperparameters, data: Data) -> Lesson:
    """Three 3x3 convolutions of stride 2, average pooling over what is left."""
    train_dl, valid_dl = get_data(*datasets(data), hp.bs, data.seed)
    model = MnistCNN(hp.width).to(data.device)
    return Lesson(model, named(model), F.cross_entropy, sgd(model, hp), train_dl, valid_dl)


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


def sequential(hp: Hyperparameters, data: Data) -> Lesson:
    """`nn.Sequential` with a `Lambda` layer where torch has none."""
    train_dl, valid_dl = get_data(*datasets(data), hp.bs, data.seed)
    model = nn.Sequential(Lambda(as_images), *convolutions(hp.width), nn.AvgPool2d(4), Lambda(flat))
    model.to(data.device)
    return Lesson(model, named(model), F.cross_entropy, sgd(model, hp), train_dl, valid_dl)


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


def wrapped(hp: Hyperparameters, data: Data) -> Lesson:
    """`WrappedDataLoader` and `AdaptiveAvgPool2d`."""

    def preprocess(x: Tensor, y: Tensor) -> Batch:
        return x.view(-1, 1, 28, 28), y

    return of_any_size(hp, data, preprocess)


def of_any_size(hp: Hyperparameters, data: Data, preprocess: Callable[[Tensor, Tensor], Batch]) -> Lesson:
    """The CNN without assumptions about the size of an image: those are in `preprocess`."""
    train_dl, valid_dl = get_data(*datasets(data), hp.bs, data.seed)
    model = nn.Sequential(*convolutions(hp.width), nn.AdaptiveAvgPool2d(1), Lambda(flat)).to(data.device)
    return Lesson(
        model,
        named(model),
        F.cross_entropy,
        sgd(model, hp),
        WrappedDataLoader(train_dl, preprocess),
        WrappedDataLoader(valid_dl, preprocess),
    )


class WrappedDataLoader:
    """A loader whose batches go through a function."""

    def __init__(self, dl: Loader, func: Callable[[Tensor, Tensor], Batch]) -> None:
        self.dl, self.func = dl, func

    def __len__(self) -> int:
        return len(self.dl)

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batches number `first` and later of `epoch`."""
        for b in self.dl.batches(epoch, first):
            yield self.func(*b)


# ---- 13 accelerator: batches move to the device one by one ---------------------------------------------


def accelerator(hp: Hyperparameters, data: Data) -> Lesson:
    """As `wrapped`, but the data may lie elsewhere than the model: `preprocess` moves each batch."""

    def preprocess(x: Tensor, y: Tensor) -> Batch:
        return x.view(-1, 1, 28, 28).to(data.device), y.to(data.device)

    return of_any_size(hp, data, preprocess)
