"""MNIST as uint8 NumPy arrays, with its digests and checks.

The images for training and validation are the first 50,000 and the next 10,000 of the original training
file. The 10,000 test images are read by `sources.load_test` alone, for a winner: no search ever sees them.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tune_app.errors import TuneAppError

IMAGE = 28 * 28
MOST_IMAGES = 1_000_000
"""The most images of a file, so that a foreign one cannot make us allocate more than 784 MB."""

ALLOWED = (
    f"a Parquet file with the columns split, image ({IMAGE} bytes) and label; other data take a task of their own:"
    " docs/tasks.md"
)
"""What `--data` may name."""

ORIGINAL = "95f948b6156fbdb9c1ab298ce48cb2dfab33e63b1c6b1bb21accc80296ddd95f"
"""The `digest` of MNIST itself: its images and labels to train on and to select by."""
ORIGINAL_TEST = (
    "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "2fd8de6bdb8d11780b4b96dc57847bcfe6953f7c32aa48bfcd8237c3b7847243",
)
"""The `digests` of its images and labels to test on."""


class Split(NamedTuple):
    """Images x (n, 784) uint8, 0 background to 255 foreground, and labels y (n,) int64 from 0 to 9."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]

    @property
    def digests(self) -> tuple[str, str]:
        """SHA-256 of the images, and of the labels as little-endian numbers."""
        x, y = np.ascontiguousarray(self.x), np.ascontiguousarray(self.y.astype("<i8", copy=False))
        return hashlib.sha256(x.data).hexdigest(), hashlib.sha256(y.data).hexdigest()


class Mnist(NamedTuple):
    """The data that a search trains on and selects by."""

    train: Split
    valid: Split

    def digest(self) -> str:
        """One SHA-256 that names these images and labels in this order."""
        parts = (*self.train.digests, *self.valid.digests)
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def checked(x: NDArray[np.uint8], y: NDArray[np.int64], where: str) -> Split:
    """A split that trials share; `TuneAppError` for labels that are no digits."""
    if y.min() < 0 or y.max() > 9:
        raise TuneAppError(f"{where}: labels from {y.min()} to {y.max()}, allowed: 0 to 9")
    x.flags.writeable = y.flags.writeable = False  # shared by all trials of a machine
    return Split(x, y)
