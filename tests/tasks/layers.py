"""A network of one to three layers, each with a width of its own, and an optimizer by name."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data


def load(source=None):
    digits = load_digits()
    x, y = torch.tensor(digits.data[:300] / 16).float(), torch.tensor(digits.target[:300])
    return {"train": (x[:200], y[:200]), "valid": (x[200:], y[200:])}


def accuracy(out, yb) -> Maximize:
    return out.argmax(1) == yb


def mlp(
    data,
    *,
    lr: float = 0.003,
    bs: int = 32,
    optimizer: str = "Adam",
    layers: int = 2,
    units_1: int = 32,
    units_2: int = 16,
    units_3: int = 16,
    dropout: float = 0.2,
) -> Lesson:
    """Linear layers with ReLU and dropout between them."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model, width = nn.Sequential(), 64
    for units in (units_1, units_2, units_3)[:layers]:
        model.extend([nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)])
        width = units
    model.append(nn.Linear(width, 10))
    opt = getattr(torch.optim, optimizer)(model.parameters(), lr=lr)
    return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl)


if __name__ == "__main__":
    fit(mlp(load()), epochs=3, metrics=[accuracy])
