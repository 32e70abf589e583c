"""Handwritten digits: a small residual network, and a rate that rises and falls once, batch by batch."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data


def load(source=None):
    digits = load_digits()
    x, y = torch.tensor(digits.images[:300, None] / 16).float(), torch.tensor(digits.target[:300])
    return {"train": (x[:200], y[:200]), "valid": (x[200:], y[200:])}


def accuracy(out, yb) -> Maximize:
    return out.argmax(1) == yb


def conv(ni, nf, stride=1):
    return nn.Sequential(nn.Conv2d(ni, nf, 3, stride, padding=1, bias=False), nn.BatchNorm2d(nf))


class Block(nn.Module):
    def __init__(self, ni, nf):
        super().__init__()
        self.convs = nn.Sequential(conv(ni, nf, stride=2), nn.ReLU(), conv(nf, nf))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(ni, nf, 1))

    def forward(self, xb):
        return F.relu(self.convs(xb) + self.shortcut(xb))


def resnet(data, *, epochs: int, lr: float = 0.01, bs: int = 32, wd: float = 0.01, width: int = 8) -> Lesson:
    """Two residual blocks."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    blocks = Block(width, 2 * width), Block(2 * width, 4 * width)
    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model = nn.Sequential(conv(1, width), nn.ReLU(), *blocks, *pool, nn.Linear(4 * width, 10))
    opt = torch.optim.AdamW(model.parameters(), lr, weight_decay=wd)
    schedule = OneCycleLR(opt, lr, total_steps=epochs * len(train_dl))
    return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl, each_batch=schedule)


if __name__ == "__main__":
    fit(resnet(load(), epochs=3), epochs=3, metrics=[accuracy])
