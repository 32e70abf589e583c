"""The small MLP of mlp_curves.parquet: eight dimensions, on a tenth of MNIST."""

from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, get_data


def load(source=None):
    """`source`: how many images to train on."""
    from tune_app.task.images.sources import load as mnist

    images, n = mnist(), int(source or 5000)
    return {
        "train": (images.train.x[:n] / 256, images.train.y[:n]),
        "valid": (images.valid.x[:5000] / 256, images.valid.y[:5000]),
    }


def accuracy(out, yb) -> Maximize:
    """Of each image, whether it is told rightly."""
    return out.argmax(dim=1) == yb


def mlp(
    data,
    *,
    epochs: int,
    lr: float = 0.1,
    bs: int = 64,
    opt: Literal["sgd", "adam", "rmsprop"] = "sgd",
    layers: Annotated[int, Interval(ge=1, le=3)] = 1,
    hidden: Annotated[int, Interval(ge=1)] = 512,
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.2,
    weight_decay: Annotated[float, Interval(ge=0)] = 1e-5,
    act: Literal["relu", "tanh", "sigmoid"] = "relu",
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9,
) -> Lesson:
    """One to three hidden layers, by one of three optimizers."""
    train_ds, valid_ds = (TensorDataset(x.float().flatten(1), y) for x, y in data.values())
    train_dl, valid_dl = get_data(train_ds, valid_ds, bs)
    kind = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[act]
    sizes = [784, *[hidden] * layers]
    model = nn.Sequential()
    for before, after in pairwise(sizes):
        model.extend([nn.Linear(before, after), kind(), nn.Dropout(dropout)])
    model.append(nn.Linear(hidden, 10))
    if opt == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay)
    else:
        kinds = {"adam": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
        optimizer = kinds[opt](model.parameters(), lr, weight_decay=weight_decay)
    return Lesson(model, F.cross_entropy, optimizer, train_dl, valid_dl)
