"""How diabetes goes on within a year: a regression."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, Minimize, fit, get_data


def load(source=None):
    x, y = (torch.tensor(part).float() for part in load_diabetes(return_X_y=True, scaled=False))
    x, y = ((part - part[:300].mean(0)) / part[:300].std(0) for part in (x, y))
    return {"train": (x[:300], y[:300]), "valid": (x[300:], y[300:])}


def r2(out, yb) -> Maximize:
    return 1 - F.mse_loss(out, yb) / yb.var(correction=0)


def absolute_error(out, yb) -> Minimize:
    return (out - yb).abs()


def mlp(data, *, epochs: int, lr: float = 0.1, bs: int = 32, momentum: float = 0.9, hidden: int = 16) -> Lesson:
    """One hidden layer; the rate falls like a cosine."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), nn.Linear(hidden, 1), nn.Flatten(0))
    opt = torch.optim.SGD(model.parameters(), lr, momentum)
    schedule = CosineAnnealingLR(opt, epochs)
    return Lesson(model, F.mse_loss, opt, train_dl, valid_dl, each_epoch=schedule)


if __name__ == "__main__":
    fit(mlp(load(), epochs=3), epochs=3, metrics=[r2, absolute_error])
