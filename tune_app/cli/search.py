"""tune-app search, resume, extend, confirm and package: what trains."""

import gc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

import tune_app
from tune_app.cli.options import (
    INTERRUPTED,
    NOT_COPIED,
    NOTHING_SUCCEEDED,
    SOME_FAILED,
    How,
    as_json,
    how_options,
    present,
    run_its_code,
    settings_options,
)

if TYPE_CHECKING:
    from tune_app.experiment.experiment import Experiment


@click.command()
@click.argument("space", default="tutorial")
@click.option("--name", help="The experiment's name.  [default: space, date and time]")
@click.option("--resume", is_flag=True, help="Go on where a search of that NAME was interrupted, if there is one.")
@click.option("--enqueue", multiple=True, help="Try this first: a config.yaml, or NAME:5, the five best of NAME.")
@click.option("--confirm", is_flag=True, help="Confirm the winner afterwards, as tune-app confirm does.")
@settings_options
@how_options
@as_json
@click.pass_context
def search(
    ctx: click.Context,
    /,
    space: str,
    name: str | None,
    resume: bool,
    enqueue: tuple[str, ...],
    confirm: bool,
    settings: dict[str, object],
    how: How,
    as_json: bool,
) -> None:
    """Search SPACE: a YAML file or the name of a shipped one. Options override the file.

    Example: tune-app search cnn --num-samples 8 --time-budget 2m

    Exit codes: 0 finished, 1 a mistake or no trial succeeded, 2 wrong usage, 3 finished with failed trials,
    4 its copy in a bucket is not up to date, 130 interrupted.
    """
    from tune_app import api

    if resume and name is None:
        raise click.UsageError("--resume needs a --name; tune-app resume goes on with the newest")
    experiment = api.search(space, name, settings, *how, resume, enqueue)
    end = experiment.history.end
    broken_off = end is None or end["reason"] in ("interrupted", "error", "changed data")
    if confirm and experiment.history.best and not broken_off:
        # The outcome tells of the confirmation, as it does whenever there is one.
        found = api.confirm(experiment.name, experiments_dir=how.experiments_dir, where=how.where, quiet=how.quiet)
        experiment = replace(experiment, not_copied=experiment.not_copied or found.experiment.not_copied)
    finish(ctx, experiment, as_json)


@click.command()
@click.argument("name", required=False)
@run_its_code
@how_options
@as_json
@click.pass_context
def resume(ctx: click.Context, /, name: str | None, run_its_code: bool, how: How, as_json: bool) -> None:
    """Go on with search NAME, which was interrupted in any way. Without NAME: the newest.

    What is recorded stays; trials that were running continue from their last result. Exit codes are those of
    tune-app search.

    Example: tune-app resume quick-20261124-101500
    """
    from tune_app import api

    finish(ctx, api.resume(name, *how, run_its_code), as_json)


@click.command()
@click.argument("name")
@click.option("--num-samples", type=int, help="Number of trials in all, more than it had.")
@click.option("--time-budget", help="End after so long, from now on: 90, 90s, 10m or 2h.")
@run_its_code
@how_options
@as_json
@click.pass_context
def extend(
    ctx: click.Context,
    /,
    name: str,
    num_samples: int | None,
    time_budget: str | None,
    run_its_code: bool,
    how: How,
    as_json: bool,
) -> None:
    """Go on with search NAME, finished or not, with a larger budget.

    Everything is reused: the record, ASHA's rungs, and the sampler goes on with its sequence. With other epochs it
    would be a new search, which the best configs can start: tune-app search SPACE --enqueue NAME:5. Exit codes are
    those of tune-app search.

    Example: tune-app extend quick-20261124-101500 --num-samples 20
    """
    from tune_app import api

    budget = {"num_samples": num_samples, "time_budget": time_budget}
    budget = {key: value for key, value in budget.items() if value is not None}
    if not budget:
        raise click.UsageError("--num-samples or --time-budget is missing")
    finish(ctx, api.extend(name, budget, *how, run_its_code), as_json)


@click.command()
@click.argument("name")
@click.option("--top", default=5, show_default=True, help="How many of the best configs race, 1 to 50.")
@click.option("--seeds", default=10, show_default=True, help="How many more seeds measure the winner, 1 to 1000.")
@click.option("--again", is_flag=True, help="Confirm once more, with other seeds: the test data are read again.")
@run_its_code
@how_options
@as_json
@click.pass_context
def confirm(
    ctx: click.Context,
    /,
    name: str,
    top: int,
    seeds: int,
    again: bool,
    run_its_code: bool,
    how: How,
    as_json: bool,
) -> None:
    """Train the best configs of NAME again with fresh seeds, name the winner and what it is worth.

    The best configs race over paired seeds; what is clearly worse drops out, and of those that cannot be told
    apart the cheapest wins. Further seeds measure the winner. Then the test data are read, once. Asking again
    shows what was found; a confirmation that was interrupted goes on.

    Example: tune-app confirm quick-20261124-101500
    """
    from tune_app import api
    from tune_app.output.confirmation import confirmation_view
    from tune_app.output.summary import confirmation_summary

    confirmation = api.confirm(name, top, seeds, again, *how, run_its_code)
    present(confirmation_summary(confirmation) if as_json else confirmation_view(confirmation))
    if confirmation.tested and not as_json:
        click.echo(f"Export it: tune-app export {name}")
    if confirmation.experiment.not_copied:
        click.echo(f"Error: {confirmation.experiment.not_copied}", err=True)
        ctx.exit(NOT_COPIED)
    if not confirmation.finished:
        ctx.exit(INTERRUPTED)
    if confirmation.findings.measured.mean is None:
        ctx.exit(NOTHING_SUCCEEDED)


@click.command()
def package() -> None:
    """Print the folder of this package, which a Ray job takes along to nodes where it is not installed.

    docs/cluster.md has the whole command: ray job submit --runtime-env-json '{"py_modules": ["FOLDER"]}' ...

    Example: tune-app package
    """
    click.echo(Path(tune_app.__file__).parent)


def finish(ctx: click.Context, experiment: "Experiment", as_json: bool) -> None:
    """Print the outcome of a search and leave with its exit code."""
    from tune_app.driver import succeeded
    from tune_app.experiment.trial import FAILED
    from tune_app.output.confirmation import confirmation_view
    from tune_app.output.summary import summary
    from tune_app.output.view import outcome
    from tune_app.storage.load import load_confirmation

    confirmation = load_confirmation(experiment)
    present(summary(experiment) if as_json else outcome(experiment))
    if confirmation and not as_json:
        present(confirmation_view(confirmation))
    gc.freeze()  # it all ends with the process: looking through it once more would take 0.2 s
    if experiment.not_copied:
        click.echo(f"Error: {experiment.not_copied}", err=True)
        ctx.exit(NOT_COPIED)
    end = experiment.history.end
    if (end and end["reason"] == "interrupted") or (confirmation and not confirmation.finished):
        ctx.exit(INTERRUPTED)
    if not succeeded(experiment):
        ctx.exit(NOTHING_SUCCEEDED)
    if experiment.history.count(FAILED):
        ctx.exit(SOME_FAILED)
