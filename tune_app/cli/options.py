"""Options that several commands share."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tune_app.typed_path import typed_path

if TYPE_CHECKING:
    from tune_app.experiment.bucket import Bucket


class TypedPath(click.Path):
    """A path, see `typed_path`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path that is meant."""
        return super().convert(typed_path(value), param, ctx)


PATH = TypedPath(path_type=Path)


def directory(given: str) -> "Path | Bucket":
    """A folder, or one in a bucket, whether it exists or not; `TuneAppError` for an s3:// URL that is none."""
    from tune_app.experiment.bucket import place

    found = place(given)
    if isinstance(found, Path):
        click.Path(file_okay=False).convert(found, None, None)
    return found


experiments_dir = click.option(
    "--experiments-dir",
    type=directory,
    metavar="DIRECTORY",
    default="experiments",
    envvar="TUNE_APP_EXPERIMENTS_DIR",
    show_default=True,
    help="Where experiments lie: a folder, or s3://BUCKET/FOLDER for a copy there.",
)
quiet = click.option("--quiet", is_flag=True, help="Print the outcome only.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(content: object) -> None:
    """Print what a program may read."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def confirm_options(command: Callable[..., None]) -> Callable[..., None]:
    """How large a confirmation is; the command receives `top` and `seeds`."""
    top = click.option(
        "--top", type=click.IntRange(1, 50), default=5, show_default=True, help="How many of the best configs race."
    )
    seeds = click.option(
        "--seeds",
        type=click.IntRange(1, 1000),
        default=10,
        show_default=True,
        help="How many further seeds measure the winner.",
    )
    return top(seeds(command))


def where_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where a search runs; the command receives them as one `where`."""

    @functools.wraps(command)
    def with_where(
        *,
        data: str | None,
        address: str | None,
        dashboard: bool | None,
        dashboard_host: str,
        wait_for_resources: float,
        verbose: bool,
        **others: Any,
    ) -> None:
        from tune_app.tuning.cluster import Where

        if wait_for_resources and not address:
            raise click.UsageError("--wait-for-resources needs an --address: this machine gets no larger")
        where = Where(
            data=data,
            address=address,
            dashboard=dashboard is not False,
            keep_dashboard=dashboard is True,
            dashboard_host=dashboard_host,
            wait_for_resources=wait_for_resources,
            verbose=verbose,
        )
        command(where=where, **others)

    for option in reversed(WHERE):
        with_where = option(with_where)
    return with_where


WHERE = (
    click.option(
        "--data",
        help="A Parquet file, a folder or URL with IDX files, or: tutorial.  [default: MNIST in the package]",
    ),
    click.option("--address", help="A running Ray cluster: auto or HOST:PORT.  [default: start one here]"),
    click.option(
        "--dashboard/--no-dashboard",
        default=None,
        help="Leave the Ray dashboard open after the search, or do without it.  [default: open while it searches]",
    ),
    click.option("--dashboard-host", default="127.0.0.1", show_default=True, help="Where the dashboard listens."),
    click.option(
        "--wait-for-resources",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="Wait so long until the cluster has what a trial needs.",
    ),
    click.option("--verbose", is_flag=True, help="Print what Ray has to say, too."),
)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that override a file's `search`; the command receives those that were given as `settings`."""

    names: list[str] = []

    @functools.wraps(command)
    def with_settings(*, no_early_stopping: bool, **given: Any) -> None:
        settings = {name: given.pop(name) for name in names}
        settings = {name: value for name, value in settings.items() if value is not None}
        if no_early_stopping:
            settings["early_stopping"] = False
        command(settings=settings, **given)

    for option in reversed(SETTINGS):
        with_settings = option(with_settings)
    parameters: list[click.Option] = with_settings.__click_params__[-len(SETTINGS) :]  # type: ignore[attr-defined]
    names += [str(p.name) for p in parameters if p.name != "no_early_stopping"]
    return with_settings


SETTINGS = (
    click.option("--num-samples", type=int, help="Number of trials."),
    click.option("--sampler", help="How configs are proposed: random or tpe."),
    click.option("--max-epochs", type=int, help="Epochs of a trial that is never stopped."),
    click.option("--results-per-epoch", type=int, help="How often an epoch is validated."),
    click.option("--grace-period", type=float, help="Epochs before a trial may be stopped."),
    click.option("--reduction-factor", type=float, help="One in so many trials passes a rung."),
    click.option("--no-early-stopping", is_flag=True, help="Train every trial to the end."),
    click.option("--metric", help="What is optimized: valid_accuracy or valid_loss."),
    click.option("--target", type=float, help="End when the metric is this good."),
    click.option("--seed", type=int, help="The same seed proposes the same configs."),
    click.option("--time-budget", help="End after so long: 90, 90s, 10m or 2h."),
    click.option("--max-concurrent-trials", type=int, help="At most so many trials at a time."),
    click.option("--max-failures", type=int, help="How often a trial that lost its worker is tried again."),
    click.option("--trial-timeout", help="A trial without a result for so long hangs, and is tried again."),
    click.option("--cpus-per-trial", type=float, help="CPUs that each trial holds."),
    click.option("--gpus-per-trial", help="GPUs that each trial holds; fractions share one.  [default: auto]"),
)
