"""The next character of a text: a small transformer that reads and writes with the same embedding."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data

CONTEXT = 16


def load(source=None):
    text = argparse.__doc__
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    pieces = codes[: len(codes) // CONTEXT * CONTEXT + 1].unfold(0, CONTEXT + 1, CONTEXT)
    return {"train": pieces[:80], "valid": pieces[80:], "letters": len(letters)}


def accuracy(out, yb) -> Maximize:
    """For each piece, the share of its characters."""
    return (out.argmax(2) == yb).float().mean(1)


def cross_entropy(out, yb):
    return F.cross_entropy(out.flatten(0, 1), yb.flatten())


class Transformer(nn.Module):
    def __init__(self, letters, width, dropout):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(letters, width), nn.Embedding(CONTEXT, width)
        self.block = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, letters, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, xb):
        xb = self.embedding(xb) + self.positions.weight
        return self.head(self.block(xb, self.mask, is_causal=True))


def transformer(data, *, lr: float = 0.01, bs: int = 16, width: int = 32, dropout: float = 0.1) -> Lesson:
    """One block of attention."""
    train_ds, valid_ds = (TensorDataset(data[part][:, :-1], data[part][:, 1:]) for part in ("train", "valid"))
    train_dl, valid_dl = get_data(train_ds, valid_ds, bs)
    model = Transformer(data["letters"], width, dropout)
    opt = torch.optim.AdamW(model.parameters(), lr)
    return Lesson(model, cross_entropy, opt, train_dl, valid_dl)


if __name__ == "__main__":
    fit(transformer(load()), epochs=3, metrics=[accuracy])
