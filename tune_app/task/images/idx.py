"""The IDX files that MNIST was published in: a header of big-endian integers, then the bytes."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tune_app.errors import TuneAppError
from tune_app.task.images.formats import FORMATS, other_kind
from tune_app.task.images.mnist import IMAGE, MOST_IMAGES, Mnist, Split, checked

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
NAMES = (IMAGES, LABELS, TEST_IMAGES, TEST_LABELS)
MOST_BYTES = MOST_IMAGES * IMAGE + 16


def load_folder(folder: Path) -> Mnist:
    """The training files of `folder`, packed or not: five sixths to train on, the last sixth to validate."""
    return from_idx(file_named(folder, IMAGES), file_named(folder, LABELS))


def load_test_folder(folder: Path) -> Split | None:
    """The test files of `folder`, packed or not; None where there are none."""
    if not {TEST_IMAGES, TEST_LABELS} & files(folder).keys():
        return None
    return read_pair(file_named(folder, TEST_IMAGES), file_named(folder, TEST_LABELS))


def data_in(folder: Path) -> Path:
    """The data of a folder: itself, its mnist.pkl.gz, or the folder below it where torchvision keeps IDX files."""
    pickles = [path for path in sorted(folder.glob("*")) if path.name.lower() == "mnist.pkl.gz"]
    for places in ([folder], pickles, [folder / "raw"], sorted(folder.glob("*/raw"))):
        found = [path for path in places if path.is_file() or files(path)]
        if len(found) > 1:
            raise TuneAppError(f"{folder}: has {' and '.join(map(str, found))}; allowed: one of them")
        if found:
            return found[0]
    for pattern in ("*", "*/*", "*/raw/*"):
        for path in sorted(folder.glob(pattern)):
            if kind := other_kind(path.name):
                raise TuneAppError(f"{folder}: has {path.relative_to(folder)}, {kind}; allowed: {FORMATS}")
    return folder


def files(folder: Path) -> dict[str, Path]:
    """The IDX files of a folder by their published names; some unpack them as train-images.idx3-ubyte."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*"), key=lambda path: (path.name.removesuffix(".gz") not in NAMES, path.name)):
        name = path.name.lower().removesuffix(".gz").replace(".idx", "-idx")
        if name in NAMES and path.is_file():
            found.setdefault(name, path)
    return found


def file_named(folder: Path, name: str) -> Path:
    """The file that was published as `name`."""
    path = files(folder).get(name)
    if path is None:
        raise TuneAppError(f"{folder}: {name} is missing; allowed: {name} or {name}.gz")
    return path


def from_idx(images: Path, labels: Path) -> Mnist:
    """MNIST's training file, split as the tutorial does: 50,000 and 10,000 of 60,000."""
    everything = read_pair(images, labels, at_least=2)
    n = max(1, len(everything.x) * 5 // 6)
    train, valid = (everything.x[:n], everything.y[:n]), (everything.x[n:], everything.y[n:])
    return Mnist(checked(*train, str(images)), checked(*valid, str(images)))


def read_pair(images: Path, labels: Path, at_least: int = 1) -> Split:
    """Images and their labels."""
    x, y = read(images, dimensions=3), read(labels, dimensions=1)
    if x.shape[1:] != (28, 28):
        raise TuneAppError(f"{images}: images of {x.shape[1]}x{x.shape[2]} pixels, allowed: 28x28")
    if len(x) < at_least:
        raise TuneAppError(f"{images}: {len(x)} images, allowed: {at_least} or more")
    return checked(x.reshape(len(x), IMAGE), y.astype(np.int64), str(images.parent))


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
