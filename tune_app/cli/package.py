"""tune-app package."""

from pathlib import Path

import click

import tune_app


@click.command()
def package() -> None:
    """Print the folder of this package, which a Ray job takes along to nodes where it is not installed.

    docs/cluster.md has the whole command: ray job submit --runtime-env-json '{"py_modules": ["FOLDER"]}' ...

    Example: tune-app package
    """
    click.echo(Path(tune_app.__file__).parent)
