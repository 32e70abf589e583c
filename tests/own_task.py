"""A small task of one's own, as a person writes it, on made-up data."""

from pathlib import Path

TASK = '''"""Points on two sides of a line."""

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, get_data


def load(source=None):
    x = np.random.default_rng(0).normal(size=(300, 4)).astype("float32")
    y = (x.sum(1) > 0).astype("int64")
    return {"train": (x[:200], y[:200]), "valid": (x[200:], y[200:])}


def accuracy(out, yb) -> Maximize:
    return out.argmax(1) == yb


def line(data, *, lr: float = 0.1, bs: int = 20) -> Lesson:
    """No hidden layer."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = nn.Linear(4, 2)
    return Lesson(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr), train_dl, valid_dl)


def net(
    data,
    *,
    epochs: int,
    lr: float = 0.01,
    bs: int = 20,
    hidden: Annotated[int, Interval(ge=1), "neurons"] = 8,
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.2,
) -> Lesson:
    """One hidden layer."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))
    opt = torch.optim.AdamW(model.parameters(), lr)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=epochs * len(train_dl))
    return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl, each_batch=sched)
'''
SPACE = """task: mine.py
space: {level: net, lr: {loguniform: [0.001, 0.1]}}
search: {num_samples: 2, max_epochs: 2, results_per_epoch: 2}
"""


def write(folder: Path, *changes: tuple[str, str], name: str = "mine.py") -> Path:
    """The task with changes, each a text of it and what stands there instead, and a space beside it."""
    text = TASK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "space.yaml").write_text(SPACE.replace("mine.py", name))
    (folder / name).write_text(text)
    return folder / name


def line_of(file: Path, text: str) -> int:
    """The number of the first line with this text."""
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)
