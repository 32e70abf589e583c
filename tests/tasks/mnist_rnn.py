"""Handwritten digits, read row by row."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data


def load(source=None):
    digits = load_digits()
    x, y = torch.tensor(digits.images[:300] / 16).float(), torch.tensor(digits.target[:300])
    return {"train": (x[:200], y[:200]), "valid": (x[200:], y[200:])}


def accuracy(out, yb) -> Maximize:
    return out.argmax(1) == yb


class Net(nn.Module):
    def __init__(self, hidden, dropout):
        super().__init__()
        self.rnn = nn.LSTM(input_size=8, hidden_size=hidden, batch_first=True)
        self.norm = nn.BatchNorm1d(hidden)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden, 10)

    def forward(self, rows):
        out, _ = self.rnn(rows)
        return self.fc(self.dropout(self.norm(out[:, -1])))


def lstm(data, *, lr: float = 0.01, bs: int = 32, hidden: int = 24, dropout: float = 0.2) -> Lesson:
    """One LSTM; its last output is normalised and classified."""
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = Net(hidden, dropout)
    return Lesson(model, F.cross_entropy, torch.optim.Adam(model.parameters(), lr), train_dl, valid_dl)


if __name__ == "__main__":
    fit(lstm(load()), epochs=3, metrics=[accuracy])
