"""tune-app plan."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tune_app.cli.options import as_json, experiments_dir, print_json, settings_options, where_options

if TYPE_CHECKING:
    from tune_app.experiment.bucket import Bucket
    from tune_app.tuning.cluster import Where


@click.command()
@click.argument("space", default="tutorial")
@settings_options
@where_options
@experiments_dir
@as_json
def plan(
    space: str, settings: dict[str, object], where: "Where", experiments_dir: "Path | Bucket", as_json: bool
) -> None:
    """Say what a search of SPACE would need, from training for some seconds on the machines that it would have.

    How many trials would reach each rung, how long it would take, memory and disk. tune-app status says
    afterwards how wrong that was.

    Example: tune-app plan cnn --num-samples 8
    """
    from tune_app.experiment.space import load_space
    from tune_app.experiment.spec import beside
    from tune_app.output.plan import plan_view
    from tune_app.output.terminal import print_renderable
    from tune_app.tuning import calibration

    source = load_space(space, settings)
    folder = experiments_dir if isinstance(experiments_dir, Path) else beside(experiments_dir)
    made = calibration.plan(source, folder, where, lambda text: click.echo(text, err=True))
    if as_json:
        print_json(made.model_dump())
    else:
        print_renderable(plan_view(made, source.settings, space))
