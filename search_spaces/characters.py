"""The next character of a text: a small transformer reads Python's own source, which every Python has at hand."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data

CONTEXT = 32


def load(source=None):
    """Pieces of 33 characters of a text, argparse.py unless --data names another; every tenth piece selects."""
    text = Path(source or argparse.__file__).read_text()
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    pieces = codes.unfold(0, CONTEXT + 1, CONTEXT)
    valid = torch.arange(len(pieces)) % 10 == 9
    return {"train": pieces[~valid], "valid": pieces[valid], "letters": len(letters)}


def accuracy(out, yb) -> Maximize:
    """Of each piece, the share of its characters that are told rightly."""
    return (out.argmax(dim=2) == yb).float().mean(dim=1)


def cross_entropy(out, yb):
    return F.cross_entropy(out.flatten(0, 1), yb.flatten())


class Transformer(nn.Module):
    def __init__(self, letters, width, dropout):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(letters, width), nn.Embedding(CONTEXT, width)
        self.block = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, letters, bias=False)
        self.head.weight = self.embedding.weight  # what it reads by is what it writes by
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, xb):
        xb = self.embedding(xb) + self.positions.weight
        return self.head(self.block(xb, self.mask, is_causal=True))


def transformer(data, *, lr: float = 0.003, bs: int = 32, width: int = 32, dropout: float = 0.1) -> Lesson:
    """One block of attention."""
    train_ds, valid_ds = (TensorDataset(data[part][:, :-1], data[part][:, 1:]) for part in ("train", "valid"))
    model = Transformer(data["letters"], width, dropout)
    opt = torch.optim.AdamW(model.parameters(), lr)
    return Lesson(model, cross_entropy, opt, *get_data(train_ds, valid_ds, bs))


if __name__ == "__main__":
    fit(transformer(load()), epochs=3, metrics=[accuracy])
