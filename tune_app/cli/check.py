"""tune-app check."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tune_app.cli.options import as_json, print_json

if TYPE_CHECKING:
    from tune_app.check import Checked
    from tune_app.experiment.space import SpaceSource


@click.command()
@click.argument("file")
@click.argument("level", required=False)
@click.option("--data", help="As for tune-app search.")
@as_json
@click.pass_context
def check(ctx: click.Context, /, file: str, level: str | None, data: str | None, as_json: bool) -> None:
    """Try the levels of a task, or one LEVEL, on two batches, and check that a training goes on exactly.

    FILE is a Python file or a folder, or a space, of which the levels are tried that it searches. Each has its
    defaults; schedules are stepped as often as in a whole training.

    Example: tune-app check mine.py
    """
    from tune_app.check import check_level, load_to_check
    from tune_app.experiment.space import load_space_or_task

    source = load_space_or_task(file)
    levels = [source.task.level(level).name] if level else source.space.levels
    loaded = load_to_check(source, data)
    for text in loaded.told:
        click.echo(text, err=True)
    found = []
    for name in levels:
        found.append(check_level(source, name, loaded))
        if not as_json:
            show(source, found[-1])
    if as_json:
        print_json([{**asdict(one), "searched": searched(source, one.level)} for one in found])
    if any(one.mistake for one in found):
        ctx.exit(1)


def show(source: "SpaceSource", one: "Checked") -> None:
    """Print the findings about a level, and each hyperparameter as it is or could be searched."""
    if one.mistake:
        click.echo(f"Error: level '{one.level}': {one.mistake}", err=True)
        return
    click.echo(
        f"{one.level}: goes on exactly; {one.parameters:,} parameters, {one.batches_per_epoch:,} batches an epoch,"
        f" {one.seconds_per_batch:.2g} s a batch, {one.seconds_per_validation:.2g} s a validation"
    )
    processes = 1 + one.loading_processes
    if processes > max(1, source.settings.cpus_per_trial):
        click.echo(
            f"  uses {processes} processes, as its loaders have workers: cpus_per_trial {processes} counts them"
        )
    domains = searched(source, one.level)
    for name, value in source.task.levels[one.level].defaults.items():
        allowed = f"{value} (allowed: {source.task.hyperparameters[name].allowed})"
        click.echo(f"  {name:13} {domains.get(name, allowed)}")


def searched(source: "SpaceSource", level: str) -> dict[str, str]:
    """The dimensions of a level that the space searches, in words."""
    return {d.name: str(d) for d in source.space.dimensions_of(level) if d.name != "level"}
