"""The image of a digit in a PNG file, as the tutorial's levels take it."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_app.errors import TuneAppError
from tune_app.task.images.mnist import IMAGE

SIDE = 28
BRIGHT = 128
"""An image with a mean border of this or more is dark on bright."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""The exceptions of Pillow for a file that is damaged or far too large."""


def read_digit(path: Path) -> NDArray[np.uint8]:
    """The image in a PNG file, (784,), bright on dark as in MNIST: one that is dark on bright is turned round.

    Colours become grey by brightness. Raises `TuneAppError` that names the file, what it holds and what is allowed.
    """
    try:
        if not path.is_file():
            raise TuneAppError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path, formats=["PNG"]) as image,
        ):
            if image.size != (SIDE, SIDE):
                raise TuneAppError(f"{path}: {image.width}x{image.height} pixels, allowed: {SIDE}x{SIDE}")
            if image.mode.startswith(("I", "F")):
                raise TuneAppError(f"{path}: 16 bits a pixel, allowed: 8")
            if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise TuneAppError(f"{path}: has transparent pixels, allowed: an image on a background")
            grey = np.asarray(image.convert("RGB").convert("L"))
    except UNREADABLE as error:
        raise TuneAppError(f"{path}: not a PNG file that can be read: {error}") from None
    border = np.ones((SIDE, SIDE), bool)
    border[1:-1, 1:-1] = False
    return (255 - grey if grey[border].mean() >= BRIGHT else grey).reshape(IMAGE)
