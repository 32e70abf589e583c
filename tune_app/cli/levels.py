"""tune-app levels."""

import click

from tune_app.cli.options import as_json, print_json


@click.command()
@as_json
def levels(as_json: bool) -> None:
    """List the levels of the tutorial, with its sections and the hyperparameters of each.

    Example: tune-app levels
    """
    from tune_app.task.tutorial import tutorial

    if as_json:
        print_json(
            [
                {
                    "number": n,
                    "name": x.name,
                    "summary": x.summary,
                    "family": x.family,
                    "defaults": dict(x.defaults),
                }
                for n, x in enumerate(tutorial().levels.values(), 1)
            ]
        )
        return
    for number, level in enumerate(tutorial().levels.values(), 1):
        defaults = ", ".join(f"{name} {value}" for name, value in level.defaults.items())
        click.echo(f"{number:2} {level.name:12} {level.summary:42} {defaults}")
