"""Trainings of the tutorial's levels, without a search."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from tune_app.task import Lesson
from tune_app.task.execution import functions
from tune_app.task.images.mnist import Mnist
from tune_app.task.result import Result
from tune_app.task.training import Training
from tune_app.task.tutorial import tutorial

LEVELS = tuple(tutorial().levels)


def training(
    config: Mapping[str, object],
    images: Mnist,
    seed: int = 0,
    results_per_epoch: int = 1,
    device: str = "cpu",
    epochs: int = 1,
) -> Training:
    """A training by a config, of which the level's own values may be left out."""
    with functions(tutorial()) as its:
        return Training(its, tutorial().complete(config), images, seed, epochs, results_per_epoch, device)


def timeless(result: Result) -> Result:
    """A result but for how long it took."""
    return replace(result, train_seconds=0, valid_seconds=0)


def parameters(lesson: Lesson) -> dict[str, Tensor]:
    """What a training changes, by the names in its model or in what it keeps."""
    of_model = dict(lesson.model.named_parameters()) if isinstance(lesson.model, nn.Module) else {}
    return of_model | {name: part for name, part in lesson.keeps.items() if isinstance(part, Tensor)}
