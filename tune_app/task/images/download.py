"""The tutorial's own file of MNIST, downloaded once.

It is a pickle: it is unpickled only when its size and digest are the published ones, and then by an unpickler that
can make nothing but NumPy arrays. Only a file that holds MNIST to the bit goes into the cache, and as a whole.
"""

import gzip
import hashlib
import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from tune_app.errors import TuneAppError
from tune_app.task.images.mnist import Mnist, Split, checked, require_original
from tune_app.typed_path import cache_folder

URL = "https://github.com/pytorch/tutorials/raw/main/_static/mnist.pkl.gz"
BYTES = 16_168_813
MD5 = "a02cd19f81d51c426d7ca14024243ce9"
"""Of the packed file, as public code has it; no stronger digest of it is published. Its content is checked
against SHA-256 digests afterwards."""
RETRIES = 2
SECONDS_BETWEEN_TRIES = 1.0
TIMEOUT_SECONDS = 30


def tutorial_file() -> Mnist:
    """The tutorial's mnist.pkl.gz, from the cache or downloaded; it must hold MNIST to the bit."""
    path = cache_folder() / "mnist.pkl.gz"
    try:
        if path.exists():
            with path.open("rb") as file:
                return unpack(file.read(BYTES + 1), str(path))
        packed = download()
        mnist = unpack(packed, URL)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as folder:
            part = Path(folder, path.name)
            part.write_bytes(packed)
            part.rename(path)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be read or written: {error.strerror or error}") from None
    return mnist


def download() -> bytes:
    """What the tutorial's server sends, up to a byte too much; `TuneAppError` where it does not answer."""
    retry = Retry(RETRIES, backoff_factor=SECONDS_BETWEEN_TRIES, status_forcelist=range(500, 600))
    with requests.Session() as session:
        session.mount(URL, HTTPAdapter(max_retries=retry))
        try:
            with session.get(URL, stream=True, timeout=TIMEOUT_SECONDS) as response:
                response.raise_for_status()
                return bytes(response.raw.read(BYTES + 1))
        except (requests.RequestException, HTTPError) as error:
            said = " ".join(str(error).split())
            raise TuneAppError(f"{URL}: cannot be downloaded: {said[:300]}") from None


def unpack(packed: bytes, where: str) -> Mnist:
    """The images of the tutorial's file; `TuneAppError`, which names it as `where`, for any other."""
    if len(packed) != BYTES:
        words = "more than" if len(packed) > BYTES else f"{len(packed)} bytes, not"
        raise TuneAppError(f"{where}: {words} {BYTES} bytes: not the tutorial's file")
    digest = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    if digest != MD5:
        raise TuneAppError(f"{where}: MD5 {digest}, not {MD5}: not the tutorial's file")
    try:
        content = ArraysOnly(io.BytesIO(gzip.decompress(packed)), encoding="latin-1").load()
        train, valid = (as_bytes(x, y, where) for x, y in content[:2])
    except TuneAppError:
        raise
    except Exception as error:  # whatever a damaged pickle raises
        raise TuneAppError(f"{where}: not the tutorial's file: {str(error)[:200]}") from None
    require_original("train", train, where)
    require_original("valid", valid, where)
    return Mnist(train, valid)


def as_bytes(x: Any, y: Any, where: str) -> Split:
    """Float pixels, multiples of 1/256, and their labels."""
    pixels = np.rint(x * 256)
    if not ((pixels >= 0) & (pixels <= 255)).all():  # nor what is no number
        raise ValueError("its pixels are not from 0 to 255/256")
    return checked(pixels.astype(np.uint8), np.array(y, np.int64), where)


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
