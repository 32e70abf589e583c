"""tune-app levels."""

import click

from tune_app.cli.options import as_json, print_json


@click.command()
@as_json
def levels(as_json: bool) -> None:
    """List the levels of the tutorial, with its sections and the hyperparameters of each.

    Example: tune-app levels
    """
    from tune_app.task.levels import LEVELS

    if as_json:
        print_json(
            [
                {
                    "number": n,
                    "name": x.name,
                    "section": x.section,
                    "family": x.family,
                    "defaults": dict(x.defaults),
                }
                for n, x in enumerate(LEVELS.values(), 1)
            ]
        )
        return
    for number, level in enumerate(LEVELS.values(), 1):
        defaults = ", ".join(f"{name} {value:g}" for name, value in level.defaults.items())
        click.echo(f"{number:2} {level.name:12} {level.section:42} {defaults}")
