"""Which digit an image of 8x8 pixels shows. The images come with scikit-learn: pip install scikit-learn"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data


def split(valid):
    """1,797 images in the order in which they were written: train on the first 1,200."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16).float(), torch.tensor(y)
    return {"train": (x[:1200], y[:1200]), "valid": (x[valid], y[valid])}


def load(source=None):
    return split(slice(1200, 1500))


def load_test(source=None):
    """The same with the test part in the place of the valid part."""
    return split(slice(1500, None))


def read_input(path):
    """Images that `tune-app predict` is given: a .npy file, (8, 8) or (n, 8, 8), from 0 to 16."""
    return torch.tensor(np.load(path)).reshape(-1, 64).float() / 16


def accuracy(out, yb) -> Maximize:
    """Of each image, whether it is told rightly."""
    return out.argmax(dim=1) == yb


def mlp(data, *, epochs: int, lr: float = 0.01, bs: int = 64, hidden: int = 64, dropout: float = 0.2) -> Lesson:
    """One hidden layer; the rate rises and falls once in the whole training."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = nn.Sequential(
        nn.Linear(64, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 10)
    )
    opt = torch.optim.AdamW(model.parameters(), lr)
    one_cycle = OneCycleLR(opt, lr, total_steps=epochs * len(train_dl))
    return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl, each_batch=one_cycle)


if __name__ == "__main__":
    fit(mlp(load(), epochs=5), epochs=5, metrics=[accuracy])
