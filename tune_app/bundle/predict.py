"""Predict with exported weights: tell digits by a level of the tutorial, or run another task's model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from tune_app.bundle.manifest import CONFIG, WEIGHTS, read, read_bundle
from tune_app.bundle.retrain import Exported, exported_from
from tune_app.bundle.verify import require_same_data
from tune_app.errors import TuneAppError
from tune_app.task import Lesson
from tune_app.task.execution import Functions, functions
from tune_app.task.images.mnist import Mnist, Split
from tune_app.task.loading import load, one_line
from tune_app.task.loop.batches import described, leaves, mapped
from tune_app.task.loop.chance import seeded
from tune_app.task.loop.data import as_tensors
from tune_app.task.loop.lesson import own_generators, train_mode
from tune_app.task.loop.measure import SEED
from tune_app.task.recorded import require_run_here
from tune_app.task.training import Training

MOST_LIKELY = 3


def opened(folder: Path) -> Exported:
    """What is exported in a bundle; `TuneAppError` for a damaged one."""
    return exported_from(folder / CONFIG, read_bundle(folder))


@torch.no_grad()
def digits(exported: Exported, images: Sequence[NDArray[np.uint8]]) -> list[dict[str, float]]:
    """The three likeliest digits of each image (784,) and their probabilities, by a level of the tutorial.

    The images take the place of the validation images, so they go through the model as those did, in batches of
    the same size. Raises `TuneAppError` for weights that are not the config's.
    """
    split = Split(np.stack(images), np.zeros(len(images), np.int64))
    with functions(exported.task) as its:
        lesson = trained(exported, its, Mnist(train=split, valid=split))
    found = torch.cat([F.softmax(lesson.model(xb), dim=1) for xb, _ in lesson.valid_dl])
    return [{str(int(c)): float(row[c]) for c in row.argsort(descending=True)[:MOST_LIKELY]} for row in found]


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
