"""Predict with exported weights: classify images by a level of the tutorial, or run another task's model.

Images are read from PNG files, or NumPy's .npy.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from tune_app.bundle.manifest import CONFIG, WEIGHTS, read, read_bundle
from tune_app.bundle.retrain import Exported, exported_from
from tune_app.bundle.verify import require_same_data
from tune_app.errors import TuneAppError
from tune_app.task import Lesson
from tune_app.task.execution import Functions, functions
from tune_app.task.images.mnist import IMAGE, MOST_IMAGES, Mnist, Split
from tune_app.task.loading import load, one_line
from tune_app.task.loop.batches import described, leaves, mapped
from tune_app.task.loop.chance import seeded
from tune_app.task.loop.data import as_tensors
from tune_app.task.loop.lesson import own_generators, train_mode
from tune_app.task.loop.measure import SEED
from tune_app.task.recorded import require_run_here
from tune_app.task.training import Training

SIDE = 28
BRIGHT = 128
"""An image with a mean border of this or more is taken for dark on bright."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""The exceptions of Pillow for a file that is damaged or far too large."""


def opened(folder: Path) -> Exported:
    """What is exported in a bundle; `TuneAppError` for a damaged one."""
    return exported_from(folder / CONFIG, read_bundle(folder))


@torch.no_grad()
def probabilities(exported: Exported, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The probability of each class, (n, 10), for images (n, 784), by a level of the tutorial.

    The images take the place of the validation images, so they go through the model as those did, in batches of
    the same size. Raises `TuneAppError` for weights that are not the config's.
    """
    split = Split(images, np.zeros(len(images), np.int64))
    with functions(exported.task) as its:
        lesson = trained(exported, its, Mnist(train=split, valid=split))
    batches = [F.softmax(lesson.model(xb), dim=1) for xb, _ in lesson.valid_dl]
    found: NDArray[np.float32] = torch.cat(batches).numpy()
    return found


def most_likely(found: NDArray[np.float32], n: int) -> list[list[dict[str, float]]]:
    """Of each image the `n` most likely classes with their probabilities, the most likely first."""
    order = np.argsort(-found, axis=1, kind="stable")[:, :n]
    return [
        [{"class": int(c), "probability": float(row[c])} for c in classes]
        for row, classes in zip(found, order, strict=True)
    ]


@torch.no_grad()
def outputs(exported: Exported, files: Sequence[Path], source: str | None, run_its_code: bool) -> list[list[Any]]:
    """The output of the model for each item of each file, in numbers, by the bundle of a task of one's own.

    source: as `--data`; a level builds its model from the data of the search. Raises `TuneAppError` for a task that
    reads no input, for other data or weights, for what is wrong with the code, and see `require_run_here`.
    """
    folder, task, source = exported.path.parent, exported.task, source or exported.settings.data
    home = folder / str(exported.settings.task)
    if "read_input" not in task.loads:
        allowed = "def read_input(path) that returns a batch of inputs, there before the search"
        raise TuneAppError(f"{home}: no function reads an input, allowed: {allowed}")
    require_run_here(task, str(folder), str(home), run_its_code)
    loaded = load(task, source, home)
    assert exported.recorded is not None
    require_same_data(exported.recorded, loaded.digest, source or f"load of {task.name}")

    with one_line(task.name), functions(task, home) as its:
        lesson = trained(exported, its, loaded.content)

        def of_items(file: Path) -> list[Any]:
            with one_line(f"{file}: {task.name}"), seeded(SEED, own_generators(lesson)):
                return by_item(lesson.model, as_tensors(its.loads["read_input"](str(file))), str(file))

        return [of_items(file) for file in files]


def by_item(model: Callable[[Any], Any], xb: Any, name: str) -> list[Any]:
    """The output for each item of a batch; `TuneAppError` where it is not one for each. name: of its file."""
    n = next((len(part) for part in leaves(xb) if isinstance(part, Tensor) and part.dim()), None)
    if n is None:
        raise TuneAppError(
            f"{name}: read_input gave a {described(xb)}, allowed: a batch, an array (n, ...) or a nest"
        )
    out = model(xb)
    for part in leaves(out):
        if not isinstance(part, Tensor) or part.shape[:1] != (n,):
            found = f"the shape {tuple(part.shape)}" if isinstance(part, Tensor) else f"a {described(part)}"
            raise TuneAppError(f"{name}: the model gave {found} for {n} items, allowed: ({n}, ...), one for each")
    return [mapped(lambda part: part[i].tolist(), out) for i in range(n)]  # noqa: B023


def trained(exported: Exported, its: Functions, data: Any) -> Lesson:
    """The lesson of a config with its exported weights, ready to predict."""
    torch.set_num_threads(exported.settings.threads)
    lesson = Training(
        its, exported.config, data, exported.settings.seed, exported.settings.whole_epochs, 1
    ).lesson()
    load_weights(lesson, exported.path.with_name(WEIGHTS))
    train_mode(lesson, False)
    return lesson


def load_weights(lesson: Lesson, path: Path) -> None:
    """Put exported weights into a lesson; `TuneAppError` if they are those of another model."""
    try:
        weights = load_safetensors(read(path))
    except SafetensorError as error:
        raise TuneAppError(f"{path}: not a safetensors file: {error}") from None
    parameters = {name: part for name, part in lesson.keeps.items() if isinstance(part, torch.Tensor)}
    if isinstance(lesson.model, torch.nn.Module):
        parameters |= lesson.model.state_dict()
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    found = {name: tuple(w.shape) for name, w in weights.items()}
    if found != shapes:
        raise TuneAppError(f"{path}: holds {found!s:.200}, its config needs {shapes}")
    for name, p in parameters.items():
        p.copy_(weights[name])


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
