"""Images to classify from files: PNG, or NumPy's .npy."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_app.errors import TuneAppError
from tune_app.task.images.mnist import IMAGE, MOST_IMAGES

SIDE = 28
BRIGHT = 128
"""An image with a mean border of this or more is taken for dark on bright."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""The exceptions of Pillow for a file that is damaged or far too large."""


def read_images(path: Path) -> NDArray[np.uint8]:
    """The images of a file, (n, 784) uint8, bright on dark as in MNIST. Its first bytes tell its format.

    Raises `TuneAppError` that names the file, what it holds and what is allowed.
    """
    try:
        if not path.is_file():
            raise TuneAppError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be read: {error.strerror or error}") from None
    if start == b"\x89PNG":
        images = read_png(path)
    elif start == b"\x93NUM":
        images = read_npy(path)
    else:
        raise TuneAppError(f"{path}: not an image file that is known here, allowed: PNG, .npy")
    if not 1 <= len(images) <= MOST_IMAGES:
        raise TuneAppError(f"{path}: {len(images)} images, allowed: 1 to {MOST_IMAGES}")
    return images.reshape(len(images), IMAGE)


def read_png(path: Path) -> NDArray[np.uint8]:
    """(1, 28, 28). Colours become grey by brightness. Transparent pixels are refused: their colour is unknown."""
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path, formats=["PNG"]) as image,
        ):
            check_size(path, image.height, image.width)
            if image.mode.startswith(("I", "F")):
                raise TuneAppError(f"{path}: 16 bits a pixel, allowed: 8")
            if image.has_transparency_data:
                rgba = image.convert("RGBA")
                if rgba.getchannel("A").getextrema() != (255, 255):
                    raise TuneAppError(f"{path}: has transparent pixels, allowed: an image on a background")
                return np.asarray(rgba.convert("RGB").convert("L"))[None]
            return np.asarray(image.convert("L"))[None]
    except UNREADABLE as error:
        raise TuneAppError(f"{path}: not a PNG file that can be read: {error}") from None


def read_npy(path: Path) -> NDArray[np.uint8]:
    """(n, 28, 28) or (n, 784), or one of them; uint8 alone."""
    try:
        # Mapped, not read: the header of a foreign file may promise any size.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise TuneAppError(f"{path}: not a .npy file that can be read: {str(error).splitlines()[0]}") from None
    if array.shape[-1:] == (IMAGE,) and array.ndim <= 2:
        array = array.reshape(-1, SIDE, SIDE)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise TuneAppError(f"{path}: an array of shape {array.shape}, allowed: (n, 28, 28), (28, 28) or (n, 784)")
    check_size(path, *array.shape[1:])
    if array.dtype != np.uint8:
        raise TuneAppError(f"{path}: values are {array.dtype}, allowed: uint8 from 0 to 255")
    return np.array(array)


def check_size(path: Path, height: int, width: int) -> None:
    """Raise `TuneAppError` unless an image has the size of MNIST's."""
    if (height, width) != (SIDE, SIDE):
        raise TuneAppError(f"{path}: images of {width}x{height} pixels, allowed: {SIDE}x{SIDE}")


def dark_on_bright(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True for each of the images (n, 784) with a bright border; in MNIST the border is dark, the digit bright."""
    border = np.ones((SIDE, SIDE), bool)
    border[1:-1, 1:-1] = False
    outside: NDArray[np.bool_] = images[:, border.ravel()].mean(axis=1) >= BRIGHT
    return outside
