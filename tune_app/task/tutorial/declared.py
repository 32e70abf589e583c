"""The tutorial's declaration."""

from functools import cache

from tune_app.task.levels import HYPERPARAMETERS, LEVELS, TUTORIAL_CONFIG
from tune_app.task.task import Hyperparameter, Interval, Level, Metric, Task


@cache
def tutorial() -> Task:
    """The built-in task: the tutorial's thirteen levels on MNIST."""
    numbers = {
        h.name: Hyperparameter(
            name=h.name,
            kind="int" if h.kind is int else "float",
            interval=Interval(
                **{"ge" if h.low_included else "gt": h.low, "le" if h.high_included else "lt": h.high}
            ),
            meaning=h.meaning,
        )
        for h in HYPERPARAMETERS.values()
    }
    levels = {
        level.name: Level(
            name=level.name, summary=level.section, family=level.family, defaults=dict(level.defaults)
        )
        for level in LEVELS.values()
    }
    metrics = (
        Metric(name="valid_accuracy", mode="max", interval=Interval(ge=0, le=1)),
        Metric(name="valid_loss", mode="min", interval=Interval(ge=0)),
    )
    return Task(
        name="tutorial",
        levels=levels,
        hyperparameters=numbers,
        metrics={metric.name: metric for metric in metrics},
        baseline=str(TUTORIAL_CONFIG["level"]),
        modules=("logistic", "cnn"),
        loads=("load", "load_test"),
    )
