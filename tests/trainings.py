"""Trainings of the tutorial's levels, without a search."""

from collections.abc import Mapping

from tune_app.task.execution import functions
from tune_app.task.images.mnist import Mnist
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
