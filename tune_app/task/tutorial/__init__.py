"""The built-in task: the tutorial "What is torch.nn really?" on MNIST, thirteen levels in two files."""

from functools import cache
from pathlib import Path

from tune_app.task.declaration import read_task
from tune_app.task.task import LOSS, Interval, Metric, Task

FAMILIES = ["logistic", "cnn"]


@cache
def tutorial() -> Task:
    """What it declares. Its files are in this package, and its images come from `task.images`."""
    task = read_task(Path(__file__).parent)
    loss = Metric(name=LOSS, mode="min", interval=Interval(ge=0))  # a cross-entropy
    metrics = {**task.metrics, LOSS: loss}
    return task.model_copy(update={"metrics": metrics, "files": {}, "loads": ("load", "load_test")})
