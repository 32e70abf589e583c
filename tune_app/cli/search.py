"""tune-app search and resume."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tune_app.cli.options import as_json, experiments_dir, print_json
from tune_app.errors import TuneAppError

if TYPE_CHECKING:
    from tune_app.experiment.history import Experiment

NOTHING_SUCCEEDED, SOME_FAILED, INTERRUPTED = 1, 3, 130


data = click.option(
    "--data",
    help="A Parquet file, a folder or URL with IDX files, or: tutorial.  [default: MNIST in the package]",
)
address = click.option("--address", help="A running Ray cluster: auto or HOST:PORT.  [default: start one here]")
no_dashboard = click.option("--no-dashboard", is_flag=True, help="Do without the Ray dashboard: starts sooner.")
quiet = click.option("--quiet", is_flag=True, help="Print the outcome only.")
verbose = click.option("--verbose", is_flag=True, help="Print what Ray has to say, too.")


@click.command()
@click.argument("space", default="tutorial")
@click.option("--name", help="The experiment's name.  [default: space, date and time]")
@click.option("--resume", is_flag=True, help="Go on where a search of that NAME was interrupted, if there is one.")
@click.option("--enqueue", multiple=True, help="Try this first: a config.yaml, or NAME:5, the five best of NAME.")
@click.option("--num-samples", type=int, help="Number of trials.")
@click.option("--sampler", help="How configs are proposed: random or tpe.")
@click.option("--max-epochs", type=int, help="Epochs of a trial that is never stopped.")
@click.option("--results-per-epoch", type=int, help="How often an epoch is validated.")
@click.option("--grace-period", type=float, help="Epochs before a trial may be stopped.")
@click.option("--reduction-factor", type=float, help="One in so many trials passes a rung.")
@click.option("--no-early-stopping", is_flag=True, help="Train every trial to the end.")
@click.option("--metric", help="What is optimized: valid_accuracy or valid_loss.")
@click.option("--target", type=float, help="End when the metric is this good.")
@click.option("--seed", type=int, help="The same seed proposes the same configs.")
@click.option("--time-budget", help="End after so long: 90, 90s, 10m or 2h.")
@click.option("--max-concurrent-trials", type=int, help="At most so many trials at a time.")
@click.option("--max-failures", type=int, help="How often a trial that lost its worker is tried again.")
@click.option("--trial-timeout", help="A trial without a result for so long hangs, and is tried again.")
@click.option("--cpus-per-trial", type=float, help="CPUs that each trial holds.")
@click.option("--gpus-per-trial", type=float, help="GPUs that each trial holds; fractions share one.")
@data
@experiments_dir
@address
@no_dashboard
@quiet
@verbose
@as_json
@click.pass_context
def search(
    ctx: click.Context,
    /,
    space: str,
    name: str | None,
    resume: bool,
    enqueue: tuple[str, ...],
    no_early_stopping: bool,
    data: str | None,
    experiments_dir: Path,
    address: str | None,
    no_dashboard: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: object,
) -> None:
    """Search SPACE: a YAML file or the name of a shipped one. Options override the file.

    Example: tune-app search cnn --num-samples 8 --time-budget 2m

    Exit codes: 0 finished, 1 a mistake or no trial succeeded, 2 wrong usage, 3 finished with failed trials,
    130 interrupted.
    """
    from tune_app import api

    if resume and name is None:
        raise click.UsageError("--resume needs a --name; tune-app resume goes on with the newest")
    settings = {key: value for key, value in options.items() if value is not None}
    if no_early_stopping:
        settings["early_stopping"] = False
    experiment = api.search(
        space,
        name,
        settings,
        experiments_dir,
        data,
        address,
        dashboard=not no_dashboard,
        quiet=quiet,
        verbose=verbose,
        resume=resume,
        enqueue=enqueue,
    )
    finish(ctx, experiment, as_json)


@click.command()
@click.argument("name", required=False)
@data
@experiments_dir
@address
@no_dashboard
@quiet
@verbose
@as_json
@click.pass_context
def resume(
    ctx: click.Context,
    /,
    name: str | None,
    data: str | None,
    experiments_dir: Path,
    address: str | None,
    no_dashboard: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Go on with search NAME, which was interrupted in any way. Without NAME: the newest.

    What is recorded stays; trials that were running continue from their last result. Exit codes are those of
    tune-app search.

    Example: tune-app resume quick-20261124-101500
    """
    from tune_app import api

    finish(
        ctx,
        api.resume(name, experiments_dir, data, address, dashboard=not no_dashboard, quiet=quiet, verbose=verbose),
        as_json,
    )


@click.command()
@click.argument("name")
@click.option("--num-samples", type=int, help="Number of trials in all, more than it had.")
@click.option("--time-budget", help="End after so long, from now on: 90, 90s, 10m or 2h.")
@click.option("--max-epochs", type=int, help="Not possible: says how a new search does it.")
@data
@experiments_dir
@address
@no_dashboard
@quiet
@verbose
@as_json
@click.pass_context
def extend(
    ctx: click.Context,
    /,
    name: str,
    num_samples: int | None,
    time_budget: str | None,
    max_epochs: int | None,
    data: str | None,
    experiments_dir: Path,
    address: str | None,
    no_dashboard: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Go on with search NAME, finished or not, with a larger budget.

    Everything is reused: the record, ASHA's rungs, and the sampler goes on with its sequence. Exit codes are
    those of tune-app search.

    Example: tune-app extend quick-20261124-101500 --num-samples 20
    """
    from tune_app import api

    if max_epochs is not None:
        raise TuneAppError(
            f"--max-epochs {max_epochs}: every rung and end would be another, so that is a new search, which the"
            f" best configs can start: tune-app search SPACE --max-epochs {max_epochs} --enqueue {name}:5"
        )
    budget = {"num_samples": num_samples, "time_budget": time_budget}
    budget = {key: value for key, value in budget.items() if value is not None}
    if not budget:
        raise click.UsageError("--num-samples or --time-budget is missing")
    dashboard = not no_dashboard
    finish(
        ctx,
        api.extend(name, budget, experiments_dir, data, address, dashboard=dashboard, quiet=quiet, verbose=verbose),
        as_json,
    )


def finish(ctx: click.Context, experiment: "Experiment", as_json: bool) -> None:
    """Print the outcome of a search and leave with its exit code."""
    from tune_app.experiment.history import FAILED
    from tune_app.output.summary import summary
    from tune_app.output.view import outcome
    from tune_app.tuning.driver import succeeded

    if as_json:
        print_json(summary(experiment))
    else:
        click.echo(outcome(experiment))
    gc.freeze()  # it all ends with the process: looking through it once more would take 0.2 s
    end = experiment.history.end
    if end and end["reason"] == "interrupted":
        ctx.exit(INTERRUPTED)
    if not succeeded(experiment):
        ctx.exit(NOTHING_SUCCEEDED)
    if experiment.history.count(FAILED):
        ctx.exit(SOME_FAILED)
