"""How far diabetes goes on in a year, by ten measurements. Its data need scikit-learn: pip install scikit-learn"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, Minimize, fit, get_data


def split(valid):
    """442 patients: train on the first 260. The scale is that of the training part."""
    x, y = (torch.tensor(part).float() for part in load_diabetes(return_X_y=True, scaled=False))
    x, y = ((part - part[:260].mean(dim=0)) / part[:260].std(dim=0) for part in (x, y))
    return {"train": (x[:260], y[:260]), "valid": (x[valid], y[valid])}


def load(source=None):
    return split(slice(260, 350))


def load_test(source=None):
    return split(slice(350, None))


def absolute_error(out, yb) -> Minimize:
    """Of each patient, by how much the model is wrong, in standard deviations."""
    return (out - yb).abs()


def r2(out, yb) -> Maximize:
    """The share of the variance that the model explains: one number over all patients."""
    return 1 - F.mse_loss(out, yb) / yb.var(correction=0)


def linear(data, *, lr: float = 0.01, bs: int = 16, weight_decay: float = 0.0) -> Lesson:
    """Linear regression."""
    return lesson(data, nn.Linear(10, 1), lr, bs, weight_decay, epochs=None)


def mlp(
    data, *, epochs: int, lr: float = 0.01, bs: int = 16, weight_decay: float = 0.0, hidden: int = 16
) -> Lesson:
    """One hidden layer; the rate falls like a cosine."""
    model = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    return lesson(data, model, lr, bs, weight_decay, epochs)


def lesson(data, model, lr, bs, weight_decay, epochs):
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    opt = torch.optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=weight_decay)
    cosine = CosineAnnealingLR(opt, epochs) if epochs else None
    return Lesson(nn.Sequential(model, nn.Flatten(0)), F.mse_loss, opt, train_dl, valid_dl, each_epoch=cosine)


if __name__ == "__main__":
    fit(mlp(load(), epochs=5), epochs=5, metrics=[absolute_error, r2])
