"""MNIST from the network: the tutorial's own file, or the four IDX files below a URL.

A download is written under a temporary name, checked, and only then renamed into the cache, so the cache
never holds anything unchecked. The tutorial's file is a pickle: it is unpickled only when its size and
digest are the published ones, and then by an unpickler that can make nothing but NumPy arrays.
"""

import gzip
import hashlib
import io
import os
import pickle
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
import urllib3
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tune_app.errors import TuneAppError
from tune_app.task.images.idx import IMAGES, LABELS, MOST_BYTES, TEST_IMAGES, TEST_LABELS, from_idx, read_pair
from tune_app.task.images.mnist import Mnist, Split, checked, require_original
from tune_app.typed_path import cache_folder

TUTORIAL_URL = "https://github.com/pytorch/tutorials/raw/main/_static/mnist.pkl.gz"
TUTORIAL_BYTES = 16_168_813
TUTORIAL_MD5 = "a02cd19f81d51c426d7ca14024243ce9"
"""Of the packed file, as public code has it; no stronger digest of it is published. Its content is checked
against SHA-256 digests afterwards."""
MOST_UNPACKED = 70_000 * (784 * 4 + 8) + 1_000_000
TRIES = 3
SECONDS_BETWEEN_TRIES = 1.0
TIMEOUT_SECONDS = 30
CHUNK = 1 << 16


def tutorial_file() -> Mnist:
    """The tutorial's mnist.pkl.gz, from the cache or downloaded; it must hold MNIST to the bit."""
    path = cache_folder() / "mnist.pkl.gz"
    if path.exists():
        return from_tutorial(path, str(path))
    part = download(TUTORIAL_URL, path.parent, TUTORIAL_BYTES)
    try:
        mnist = from_tutorial(part, TUTORIAL_URL)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return mnist


def idx_files(url: str) -> Mnist:
    """The training images and labels below `url`, packed or not; checked by their headers."""
    with fetched(url, (IMAGES, LABELS)) as (images, labels):
        return from_idx(images, labels)


def idx_test_files(url: str) -> Split | None:
    """The test images and labels below `url`; None where the server has none."""
    try:
        with fetched(url, (TEST_IMAGES, TEST_LABELS)) as (images, labels):
            return read_pair(images, labels)
    except TuneAppError as error:
        if f"{TEST_IMAGES}: the server answers 404" in str(error):
            return None
        raise


@contextmanager
def fetched(url: str, names: Sequence[str]) -> Iterator[list[Path]]:
    """The files of these names below `url`, for as long as the block lasts."""
    if "@" in url.split("/")[2]:
        raise TuneAppError(
            "--data: a URL with a user or password is not taken: it would be written into the record"
        )
    with tempfile.TemporaryDirectory(prefix="tune-app-") as folder:
        files = [fetch_idx(url.rstrip("/"), name, Path(folder)) for name in names]
        try:
            yield files
        except TuneAppError as error:  # it names a file that is about to go
            raise TuneAppError(str(error).replace(folder, url.rstrip("/"))) from None


def fetch_idx(url: str, name: str, folder: Path) -> Path:
    """Download name.gz, or name where that is missing, to a file of that name in `folder`."""
    try:
        part = download(f"{url}/{name}.gz", folder, None)
        name = f"{name}.gz"
    except TuneAppError as missing:
        if "answers 404" not in str(missing):
            raise
        part = download(f"{url}/{name}", folder, None)
    return part.rename(folder / name)


def download(url: str, folder: Path, size: int | None) -> Path:
    """Download to a temporary file in `folder`, with a progress bar; tried three times.

    Raises `TuneAppError` where the server does not answer or sends another size; nothing is left then.
    """
    for attempt in range(1, TRIES + 1):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".download-", dir=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    receive(url, file, size)
            except BaseException:
                Path(name).unlink()
                raise
            return Path(name)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if attempt == TRIES:
                raise TuneAppError(f"{url}: cannot be downloaded: {reason(error)}") from None
            time.sleep(SECONDS_BETWEEN_TRIES)
        except OSError as error:
            raise TuneAppError(f"{folder}: cannot be written: {error.strerror or error}") from None
    raise AssertionError("unreachable")


def receive(url: str, file: Any, size: int | None) -> None:
    """Write what `url` sends to `file`."""
    watched = sys.stderr is not None and sys.stderr.isatty()  # FORCE_COLOR says that of a file, too
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with (
        requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=not watched) as progress,
    ):
        if response.status_code >= 500:
            response.raise_for_status()  # may be better at the next try
        if response.status_code != 200:
            raise TuneAppError(f"{url}: the server answers {response.status_code} {response.reason}")
        length = response.headers.get("Content-Length", "")
        promised = int(length) if length.isdecimal() else 0
        task = progress.add_task(url.rsplit("/", 1)[-1], total=promised or size)
        received = 0
        for chunk in response.iter_content(CHUNK):
            received += len(chunk)
            if received > (size or MOST_BYTES):
                raise TuneAppError(f"{url}: sends more than {size or MOST_BYTES} bytes")
            file.write(chunk)
            progress.update(task, completed=received)
        if promised and received < promised and "Content-Encoding" not in response.headers:
            raise requests.ConnectionError(f"only {received} of {promised} bytes arrived")
        if size is not None and received != size:
            raise TuneAppError(f"{url}: sent {received} bytes, not {size}: not the tutorial's file")


def reason(error: Exception) -> str:
    """A failed download in a few words."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    return " ".join(str(error).split())[:200] or type(error).__name__


def from_tutorial(path: Path, where: str) -> Mnist:
    """Check and read the tutorial's file; errors say that it is `where`."""
    try:
        with path.open("rb") as file:
            packed = file.read(TUTORIAL_BYTES + 1)  # another file may be larger than the memory
            size = max(len(packed), path.stat().st_size)
    except OSError as error:
        raise TuneAppError(f"{where}: cannot be read: {error.strerror}") from None
    if size != TUTORIAL_BYTES:
        raise TuneAppError(f"{where}: {size} bytes, not {TUTORIAL_BYTES}: not the tutorial's file")
    digest = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    if digest != TUTORIAL_MD5:
        raise TuneAppError(f"{where}: MD5 {digest}, not {TUTORIAL_MD5}: not the tutorial's file")
    mnist = unpickle(packed, where)
    require_original("train", mnist.train, where)
    require_original("valid", mnist.valid, where)
    return mnist


def unpickle(packed: bytes, where: str) -> Mnist:
    """Three pairs of float32 images and int64 labels as MNIST's bytes, without executing anything."""
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            content = file.read(MOST_UNPACKED + 1)
        if len(content) > MOST_UNPACKED:
            raise TuneAppError(f"{where}: unpacks to more than {MOST_UNPACKED} bytes")
        (x_train, y_train), (x_valid, y_valid), _ = ArraysOnly(io.BytesIO(content), encoding="latin-1").load()
        for array, kind in ((x_train, np.float32), (y_train, np.int64), (x_valid, np.float32), (y_valid, np.int64)):
            if not isinstance(array, np.ndarray) or array.dtype != kind:
                raise TypeError(f"it holds {getattr(array, 'dtype', type(array).__name__)} for {kind.__name__}")
    except (OSError, EOFError, zlib.error, pickle.UnpicklingError, ValueError, TypeError, AttributeError) as error:
        raise TuneAppError(f"{where}: not the tutorial's file: {str(error)[:200]}") from None
    train, valid = (pixels(x_train, where), y_train), (pixels(x_valid, where), y_valid)
    return Mnist(checked(*train, where), checked(*valid, where))


def pixels(x: NDArray[np.float32], where: str) -> NDArray[np.uint8]:
    """Float pixels, multiples of 1/256, as the bytes that they were made of."""
    with np.errstate(invalid="ignore"):  # not a number becomes one that differs
        bytes_ = np.round(x * 256).clip(0, 255).astype(np.uint8)
    if not np.array_equal(bytes_ / np.float32(256), x):
        raise TuneAppError(f"{where}: the pixels are not multiples of 1/256 from 0 to 255/256")
    return bytes_


class ArraysOnly(pickle.Unpickler):
    """An unpickler that knows NumPy arrays and nothing else."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """The NumPy objects that a pickle may name."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, allowed: NumPy arrays")
        return super().find_class(module, name)
