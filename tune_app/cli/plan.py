"""tune-app plan."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict

import click

from tune_app.cli.options import as_json, print_json, settings_options


@click.command()
@click.argument("space", default="tutorial")
@settings_options
@click.option("--data", help="As for tune-app search.  [default: MNIST in the package]")
@as_json
def plan(space: str, settings: dict[str, object], data: str | None, as_json: bool) -> None:
    """Say what a search of SPACE would need: trials at each rung, epochs and time.

    The search is gone through with made-up results, and a few batches of each level are trained on this machine.

    Example: tune-app plan cnn --num-samples 8
    """
    from tune_app.cluster.resources import share_of_cpus
    from tune_app.cluster.signals import terminable
    from tune_app.experiment.space import load_space
    from tune_app.output.plan import plan_view
    from tune_app.output.terminal import print_renderable
    from tune_app.plan import plan as planned
    from tune_app.task.loading import load

    source = load_space(space, settings)
    at_once = share_of_cpus(source.settings).at_once
    with terminable(), redirect_stdout(sys.stderr):  # what a task prints is not the outcome
        loaded = load(source.task, data, source.home)
        for text in loaded.told:
            click.echo(text, err=True)
        made = planned(source, loaded, at_once)
    if as_json:
        print_json(asdict(made))
    else:
        print_renderable(plan_view(made, source.settings, space))
