"""tune-app submit."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tune_app.cli.options import experiments_dir, settings_options
from tune_app.errors import TuneAppError

if TYPE_CHECKING:
    from tune_app.experiment.bucket import Bucket

MISTAKE, STOPPED = 1, 130


@click.command()
@click.argument("space", default="tutorial")
@click.option("--name", help="The experiment's name.  [default: space, date and time]")
@settings_options
@click.option(
    "--data",
    help="A file or folder, sent along; a URL, or a path on the head.  [default: MNIST in the package]",
)
@click.option("--address", default="http://127.0.0.1:8265", show_default=True, help="The cluster's job server.")
@click.option("--no-wait", is_flag=True, help="Do not follow the log nor fetch the experiment.")
@click.option("--pip", is_flag=True, help="Let Ray install on the nodes what they lack.")
@click.option("--print-requirements", is_flag=True, help="Print what the head needs beside torch, ray and numpy.")
@experiments_dir
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    space: str,
    name: str | None,
    settings: dict[str, object],
    data: str | None,
    address: str,
    no_wait: bool,
    pip: bool,
    print_requirements: bool,
    experiments_dir: "Path | Bucket",
) -> None:
    """Send a search of SPACE to a Ray cluster as a job, follow its log and fetch the experiment.

    This package is packed with it. Exit codes are those of tune-app search.

    Example: tune-app submit quick --address http://127.0.0.1:8265
    """
    from tune_app.api import name_now
    from tune_app.experiment.record import refuse_existing
    from tune_app.experiment.space import load_space
    from tune_app.experiment.spec import check_name, space_digest
    from tune_app.tuning import submit as jobs

    if print_requirements:
        click.echo("\n".join(jobs.requirements()))
        return
    source = load_space(space, settings)  # a mistake is told here, not on the cluster
    name = check_name(name or name_now(source.name))
    bucket = None if isinstance(experiments_dir, Path) else experiments_dir
    if isinstance(experiments_dir, Path):
        refuse_existing(experiments_dir / name)
    arguments = []
    for key, value in settings.items():
        option = f"--{key.replace('_', '-')}"
        arguments += ["--no-early-stopping"] if key == "early_stopping" else [option, str(value)]
    labels = {"job_name": name, "space_digest": space_digest(source.content, source.settings)}
    job = jobs.submit(address, space, arguments, name, labels, data, bucket, pip)
    click.echo(f"Submitted {name} as job {job}", err=True)
    if no_wait:
        click.echo(f"Its log: ray job logs {job} --address {address}", err=True)
        return
    try:
        code = jobs.follow(address, job, lambda text: click.echo(text, nl=False))
    except KeyboardInterrupt:
        click.echo(f"\nThe job goes on; end it with: ray job stop {job} --address {address}", err=True)
        ctx.exit(STOPPED)
    if not isinstance(experiments_dir, Path):  # it is there already
        ctx.exit(STOPPED if code is None else code)
    try:
        click.echo(f"Fetched {jobs.fetch(address, name, experiments_dir)}", err=True)
    except TuneAppError:
        if code != MISTAKE:  # which leaves no experiment
            raise
    ctx.exit(STOPPED if code is None else code)
