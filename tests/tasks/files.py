"""Bars that lie or stand, an image a file: read from disk by two workers, and changed at random each time."""

import random
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tune_app.task import Lesson, Maximize, fit


def load(source=None):
    """Where the images are; some are drawn there if there are none."""
    folder = Path(source or tempfile.mkdtemp())
    for i in range(0 if list(folder.glob("*.npy")) else 60):
        image = np.random.default_rng(i).random((8, 8))
        image[:, 3] += i % 2
        image[3] += 1 - i % 2
        np.save(folder / f"{i:02}-{'standing' if i % 2 else 'lying'}.npy", image)
    return str(folder)


def accuracy(out, yb) -> Maximize:
    return (out > 0) == yb


class Images(Dataset):
    def __init__(self, files, noise=0.0):
        self.files, self.noise = files, noise

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        image = np.load(self.files[i])
        if self.noise:
            image = np.roll(image, random.randrange(8), axis=random.randrange(2))
            image = image + np.random.normal(0, self.noise, image.shape)
            image = image * (0.5 + torch.rand(1).item())
        return torch.tensor(image).float(), float("standing" in self.files[i].name)


def mlp(data, *, lr: float = 0.01, bs: int = 8, noise: float = 0.1) -> Lesson:
    """One hidden layer."""
    files = sorted(Path(data).glob("*.npy"))
    train_dl = DataLoader(Images(files[:40], noise), bs, shuffle=True, num_workers=2, persistent_workers=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    opt = torch.optim.Adam(model.parameters(), lr)
    return Lesson(model, F.binary_cross_entropy_with_logits, opt, train_dl, DataLoader(Images(files[40:]), bs))


if __name__ == "__main__":
    fit(mlp(load()), epochs=3, metrics=[accuracy])
