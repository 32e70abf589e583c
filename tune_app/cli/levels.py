"""tune-app levels."""

from typing import TYPE_CHECKING, Any

import click

from tune_app.cli.options import as_json, print_json

if TYPE_CHECKING:
    from tune_app.task.task import Task


@click.command()
@click.argument("file", default="tutorial")
@as_json
def levels(file: str, as_json: bool) -> None:
    """List the levels of a task, their hyperparameters and its metrics.

    FILE is a Python file or a folder, or a space, whose task is meant. Nothing of it is executed.

    Example: tune-app levels mine.py
    """
    from tune_app.experiment.space import load_space_or_task

    task = load_space_or_task(file).task
    if as_json:
        print_json(as_data(task))
        return
    width = max(map(len, (*task.levels, *task.hyperparameters, *task.metrics)))
    summaries = max(len(level.summary) for level in task.levels.values())
    for number, level in enumerate(task.levels.values(), 1):
        defaults = ", ".join(f"{name} {value}" for name, value in level.defaults.items())
        click.echo(f"{number:2} {level.name:{width}}  {level.summary:{summaries}}  {defaults}".rstrip())
    click.echo(f"baseline: {task.baseline}")
    click.echo("hyperparameters:" if task.hyperparameters else "no hyperparameters")
    for h in task.hyperparameters.values():
        click.echo(f"   {h.name:{width}}  {h.allowed}{f' ({h.meaning})' if h.meaning else ''}")
    click.echo("metrics:")
    for metric in task.metrics.values():
        click.echo(f"   {metric.name:{width}}  {'more' if metric.mode == 'max' else 'less'} is better")


def as_data(task: "Task") -> dict[str, Any]:
    """The levels of a task as data for programs."""
    return {
        "task": {"name": task.name, "digest": task.digest},
        "baseline": task.baseline,
        "levels": [
            {"number": n, **level.model_dump(include={"name", "summary", "family", "defaults"})}
            for n, level in enumerate(task.levels.values(), 1)
        ],
        "hyperparameters": [
            {**h.model_dump(exclude_none=True), "allowed": h.allowed} for h in task.hyperparameters.values()
        ],
        "metrics": [metric.model_dump(exclude_none=True) for metric in task.metrics.values()],
    }
