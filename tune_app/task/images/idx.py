"""The IDX files that MNIST was published in: a header of big-endian integers, then the bytes."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tune_app.errors import TuneAppError
from tune_app.task.images.mnist import ALLOWED, IMAGE, MOST_IMAGES, Mnist, Split, checked

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
MOST_BYTES = MOST_IMAGES * IMAGE + 16


def load_folder(folder: Path) -> Mnist:
    """The training files of `folder`: as in the tutorial, five sixths to train on, the last sixth to validate."""
    everything = read_pair(folder, IMAGES, LABELS)
    n = max(1, len(everything.x) * 5 // 6)
    train, valid = (everything.x[:n], everything.y[:n]), (everything.x[n:], everything.y[n:])
    return Mnist(checked(*train, str(folder)), checked(*valid, str(folder)))


def load_test_folder(folder: Path) -> Split | None:
    """The test files of `folder`; None where there are none."""
    if not file_named(folder, TEST_IMAGES) and not file_named(folder, TEST_LABELS):
        return None
    return read_pair(folder, TEST_IMAGES, TEST_LABELS)


def data_in(folder: Path) -> Path:
    """The folder with the files: itself, or the one below it where torchvision keeps them."""
    for places in ([folder], [folder / "raw", *sorted(folder.glob("*/raw"))]):
        found = [place for place in places if file_named(place, IMAGES)]
        if len(found) > 1:
            raise TuneAppError(f"{folder}: has {' and '.join(map(str, found))}; allowed: one of them")
        if found:
            return found[0]
    raise TuneAppError(f"{folder}: has no {IMAGES}; allowed: {ALLOWED}")


def file_named(folder: Path, name: str) -> Path | None:
    """The file that was published as `name`: packed or not, also as others unpack it, train-images.idx3-ubyte."""
    spelled = (folder / one for one in (name, f"{name}.gz", name.replace("-idx", ".idx")))
    return next((path for path in spelled if path.is_file()), None)


def read_pair(folder: Path, images: str, labels: str) -> Split:
    """The images and labels that were published by these names."""
    paths = [file_named(folder, name) for name in (images, labels)]
    if not all(paths):
        missing = labels if paths[0] else images
        raise TuneAppError(f"{folder}: {missing} is missing; allowed: {missing} or {missing}.gz")
    x, y = (read(path, dimensions) for path, dimensions in zip(paths, (3, 1), strict=True) if path)
    if x.shape[1:] != (28, 28):
        raise TuneAppError(f"{paths[0]}: images of {x.shape[1]}x{x.shape[2]} pixels, allowed: 28x28")
    return checked(x.reshape(len(x), IMAGE), y.astype(np.int64), str(folder))


def read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file as an array of that many dimensions."""
    content = unpack(path)
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        start = content[:15].decode("ascii", "replace").strip()
        raise TuneAppError(f"{path}: not an IDX file of {dimensions} dimensions of bytes, it starts with {start!r}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise TuneAppError(f"{path}: {len(content)} bytes, but its header promises {expected}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def unpack(path: Path) -> bytes:
    """The file's bytes, unpacked where it is gzip; refuses what is larger than any MNIST."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TuneAppError(f"{path}: cannot be read: {error}") from None
    if len(content) > MOST_BYTES:
        raise TuneAppError(f"{path}: unpacks to more than {MOST_BYTES} bytes")
    return content
