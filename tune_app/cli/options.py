"""What several commands share: options, exit codes, and how they print what they found."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, get_args

import click
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from tune_app.experiment.settings import Settings
from tune_app.typed_path import typed_path

if TYPE_CHECKING:
    from tune_app.cluster.connect import Where
    from tune_app.storage.bucket import Bucket

NOTHING_SUCCEEDED = 1
SOME_FAILED = 3
NOT_COPIED = 4
INTERRUPTED = 130
"""The exit codes of commands, besides 0 for success. 1 is also that of a mistake, which one line tells."""
Directory: TypeAlias = "Path | Bucket"
"""A folder of experiments, here or in a bucket; a text, so that a command imports what it needs alone."""


class TypedPath(click.Path):
    """A path, see `typed_path`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path that a person means."""
        return super().convert(typed_path(value), param, ctx)


PATH = TypedPath(path_type=Path)


def directory(given: str) -> Directory:
    """A folder, here or in a bucket, that need not exist; `TuneAppError` for a wrong s3:// URL."""
    from tune_app.storage.location import folder_or_bucket

    found = folder_or_bucket(given)
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
run_its_code = click.option(
    "--run-its-code", is_flag=True, help="The task is somebody else's: you have read it, and its code may run."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def present(found: object) -> None:
    """Print what a command found: data as JSON for programs, for people text as it is and what rich renders."""
    if isinstance(found, (dict, list)):
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif isinstance(found, str):
        click.echo(found)
    else:
        from tune_app.output.terminal import console

        console().print(found)


class How(NamedTuple):
    """How a search runs: arguments that the functions of the API have in this order."""

    experiments_dir: Directory
    where: "Where"
    quiet: bool


def how_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how a search runs; the command receives them as one `how`."""

    @functools.wraps(command)
    def with_how(*, experiments_dir: Directory, dashboard: bool | None, quiet: bool, **given: Any) -> None:
        from tune_app.cluster.connect import Where

        names = ("data", "address", "wait_for_resources", "verbose", "in_process")
        options = {name: given.pop(name) for name in names}
        if options["wait_for_resources"] and not options["address"]:
            raise click.UsageError("--wait-for-resources needs an --address: this machine gets no larger")
        if options["in_process"] and dashboard:
            raise click.UsageError("--in-process does without Ray: allowed without --dashboard")
        where = Where(dashboard=dashboard is not False, keep_dashboard=dashboard is True, **options)
        command(how=How(experiments_dir, where, quiet), **given)

    for option in reversed(HOW):
        with_how = option(with_how)
    return with_how


HOW = (
    click.option(
        "--data",
        help="A Parquet file with images. Of a task of one's own, what its load gets."
        "  [default: MNIST in the package]",
    ),
    click.option("--address", help="A running Ray cluster: auto or HOST:PORT.  [default: start one here]"),
    click.option(
        "--dashboard/--no-dashboard",
        default=None,
        help="Leave the Ray dashboard open after the search, or do without it.  [default: open while it searches]",
    ),
    click.option(
        "--wait-for-resources",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="Wait so long until the cluster has what a trial needs.",
    ),
    click.option(
        "--in-process",
        is_flag=True,
        help="Without Ray: one trial after the other in this process, as for a debugger.",
    ),
    click.option("--verbose", is_flag=True, help="Print what Ray has to say, too."),
    experiments_dir,
    click.option("--quiet", is_flag=True, help="Print the outcome only."),
)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each setting, made from its field; the command receives those that were given as `settings`."""

    @functools.wraps(command)
    def with_settings(**given: Any) -> None:
        settings = {name: given.pop(name) for name in Settings.model_fields}
        command(settings={name: value for name, value in settings.items() if value is not None}, **given)

    made: Callable[..., None] = with_settings
    for name, field in reversed(Settings.model_fields.items()):
        made = setting_option(name, field)(made)
    return made


def setting_option(name: str, field: FieldInfo) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of a setting: a switch, a number, or a text, such as the 90s of a duration, to be checked."""
    option, text = name.replace("_", "-"), str(field.description)
    words = f"{text[0].upper()}{text[1:]}."
    if field.annotation is bool:
        return click.option(f"--{option}/--no-{option}", default=None, help=words)
    is_text = any(isinstance(part, BeforeValidator) for part in field.metadata)
    kinds = () if is_text else (field.annotation, *get_args(field.annotation))
    return click.option(f"--{option}", type=next((kind for kind in (int, float) if kind in kinds), str), help=words)
