"""Handwritten digits with bfloat16 where it is enough, scaled losses and clipped gradients."""

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


def mlp(data, *, device: str, lr: float = 0.1, bs: int = 32, hidden: int = 64, clip: float = 1.0) -> Lesson:
    """One hidden layer."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    kind = torch.device(device).type
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 10))
    opt = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    scaler = torch.amp.GradScaler(kind, growth_interval=5)

    def step(xb, yb):
        with torch.autocast(kind, torch.bfloat16):
            loss = F.cross_entropy(model(xb), yb)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        return loss

    return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl, step=step, keeps={"scaler": scaler})


if __name__ == "__main__":
    fit(mlp(load(), device="cpu"), epochs=3, metrics=[accuracy], device="cpu")
