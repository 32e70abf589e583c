"""The built-in task: the tutorial "What is torch.nn really?" on MNIST, thirteen levels in two files."""

from functools import cache
from pathlib import Path

from tune_app.task.declaration import read_task
from tune_app.task.task import Task

FAMILIES = ["logistic", "cnn"]


@cache
def tutorial() -> Task:
    """What it declares. Its files are in this package, and its images come from `task.images`."""
    task = read_task(Path(__file__).parent)
    return task.model_copy(update={"files": {}, "loads": ("load", "load_test")})
