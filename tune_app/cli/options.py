"""Options that several commands share."""

import json
from pathlib import Path

import click

experiments_dir = click.option(
    "--experiments-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="experiments",
    envvar="TUNE_APP_EXPERIMENTS_DIR",
    show_default=True,
    help="Where experiments lie.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(content: object) -> None:
    """Print what a program may read."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))
