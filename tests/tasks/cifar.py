"""Small colour images: how wide the two hidden layers of an old network should be."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data


def load(source=None):
    """Noise; each class has a corner and a colour in which it is brighter."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(150, 3, 32, 32, generator=generator), torch.arange(150) % 10
    for image, label in zip(x, y.tolist(), strict=True):
        row, column, colour = 16 * (label % 2), 16 * (label // 2 % 2), label // 4
        image[colour, row : row + 16, column : column + 16] += 1
    return {"train": (x[:100], y[:100]), "valid": (x[100:], y[100:])}


def accuracy(out, yb) -> Maximize:
    return out.argmax(1) == yb


def lenet(data, *, lr: float = 0.01, bs: int = 16, momentum: float = 0.9, l1: int = 32, l2: int = 16) -> Lesson:
    """Two convolutions with pooling, three linear layers."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, l1),
        nn.ReLU(),
        nn.Linear(l1, l2),
        nn.ReLU(),
        nn.Linear(l2, 10),
    )
    opt = torch.optim.SGD(model.parameters(), lr, momentum)
    return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl)


if __name__ == "__main__":
    fit(lenet(load()), epochs=3, metrics=[accuracy])
