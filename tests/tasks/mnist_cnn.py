"""Handwritten digits: two convolutions with dropout, Adadelta, a rate that falls after each epoch."""

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data


def load(source=None):
    digits = load_digits()
    x, y = torch.tensor(digits.images[:300, None] / 16).float(), torch.tensor(digits.target[:300])
    return {"train": (x[:200], y[:200]), "valid": (x[200:], y[200:])}


def accuracy(out, yb) -> Maximize:
    return out.argmax(1) == yb


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3)
        self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(2 * dropout)
        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, xb):
        xb = F.relu(self.conv2(F.relu(self.conv1(xb))))
        xb = self.dropout1(F.max_pool2d(xb, 2)).flatten(1)
        xb = self.dropout2(F.relu(self.fc1(xb)))
        return F.log_softmax(self.fc2(xb), dim=1)


def cnn(
    data,
    *,
    lr: float = 1.0,
    bs: int = 32,
    gamma: Annotated[float, Interval(gt=0, le=1)] = 0.7,
    dropout: Annotated[float, Interval(ge=0, lt=0.5)] = 0.25,
) -> Lesson:
    """Two convolutions and two linear layers."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = Net(dropout)
    opt = torch.optim.Adadelta(model.parameters(), lr)
    return Lesson(model, F.nll_loss, opt, train_dl, valid_dl, each_epoch=StepLR(opt, 1, gamma))


if __name__ == "__main__":
    fit(cnn(load()), epochs=3, metrics=[accuracy])
