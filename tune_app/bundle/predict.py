"""Classify images with exported weights, by the app's own code of their level."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load

from tune_app.bundle.manifest import CONFIG, WEIGHTS, read, read_bundle
from tune_app.bundle.retrain import exported_from
from tune_app.errors import TuneAppError
from tune_app.task import Lesson
from tune_app.task.execution import functions
from tune_app.task.images.mnist import Mnist, Split
from tune_app.task.loop.lesson import train_mode
from tune_app.task.training import Training


@torch.no_grad()
def probabilities(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The probability of each class, (n, 10), for images (n, 784), by the bundle in `folder`.

    The images take the place of the validation images, so they go through the model as those did, in batches of
    the same size. Raises `TuneAppError` for a damaged bundle and for weights that are not its config's.
    """
    exported = exported_from(folder / CONFIG, read_bundle(folder))
    split = Split(images, np.zeros(len(images), np.int64))
    torch.set_num_threads(exported.settings.threads)
    data = Mnist(train=split, valid=split)
    if exported.task.files:
        raise TuneAppError(f"{folder}: its task is {exported.task.name}, allowed: a level of the tutorial")
    with functions(exported.task) as its:
        lesson = Training(its, exported.config, data, 0, exported.settings.whole_epochs, 1).lesson()
    load_weights(lesson, folder / WEIGHTS)
    train_mode(lesson, False)
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


def load_weights(lesson: Lesson, path: Path) -> None:
    """Put exported weights into a lesson; `TuneAppError` if they are those of another model."""
    try:
        weights = load(read(path))
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
