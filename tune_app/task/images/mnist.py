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

SPLIT_DIGESTS = {
    "train": (
        "c80ceb24eedca80f31cfca280b8fb911cbb41b9990f998bebd40e26b1ab6d0f8",
        "3fc61c21900fc0b58d42fdaf93c02687003667ff54f671496c1d367a95cae2ba",
    ),
    "valid": (
        "2b079632b0defaf508a5ebf8c4ac1e18ce15c8b337da087e9c3e1c84c618d244",
        "bfddcd2fec1923668512623a71a47033ec687581bc04ac5708c8857aa0193630",
    ),
    "test": (
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "2fd8de6bdb8d11780b4b96dc57847bcfe6953f7c32aa48bfcd8237c3b7847243",
    ),
}
"""SHA-256 of the original's images (uint8) and labels (little-endian int64)."""


class Split(NamedTuple):
    """Images x (n, 784) uint8, 0 background to 255 foreground, and labels y (n,) int64 from 0 to 9."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]

    @property
    def digests(self) -> tuple[str, str]:
        """SHA-256 of the images and of the labels."""
        x, y = np.ascontiguousarray(self.x), np.ascontiguousarray(self.y.astype("<i8", copy=False))
        return hashlib.sha256(x.data).hexdigest(), hashlib.sha256(y.data).hexdigest()


class Mnist(NamedTuple):
    """The data that a search trains on and selects by."""

    train: Split
    valid: Split

    def digest(self) -> str:
        """One SHA-256 that names these images and labels in this order."""
        return joint_digest(*self.train.digests, *self.valid.digests)


def joint_digest(*parts: str) -> str:
    """The SHA-256 of SHA-256 digests."""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def original_digest() -> str:
    """The `digest` of MNIST itself."""
    return joint_digest(*SPLIT_DIGESTS["train"], *SPLIT_DIGESTS["valid"])


def checked(x: NDArray[np.uint8], y: NDArray[np.int64], where: str) -> Split:
    """A split that trials share; `TuneAppError` for labels that are no digits."""
    if y.min() < 0 or y.max() > 9:
        raise TuneAppError(f"{where}: labels from {y.min()} to {y.max()}, allowed: 0 to 9")
    x.flags.writeable = y.flags.writeable = False  # shared by all trials of a machine
    return Split(x, y)


def require_original(name: str, split: Split, where: str) -> None:
    """Raise `TuneAppError` unless these are the images and labels of MNIST's split `name` in their order."""
    for what, found, expected in zip(("images", "labels"), split.digests, SPLIT_DIGESTS[name], strict=True):
        if found != expected:
            raise TuneAppError(f"{where}: the {name} {what} are not MNIST's: SHA-256 {found}, not {expected}")
