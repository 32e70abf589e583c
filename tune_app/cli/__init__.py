"""The command line: commands parse, call and print. What they call is imported when they run."""

import io
import os
import sys

import click

from tune_app.cli.bundle import predict, verify
from tune_app.cli.experiments import export, list_experiments, remove, report, results, status
from tune_app.cli.options import INTERRUPTED
from tune_app.cli.search import confirm, extend, package, resume, search
from tune_app.cli.tasks import check, levels, plan, train, validate
from tune_app.errors import TuneAppError
from tune_app.typed_path import current_directory
from tune_app.version import VERSION


class Commands(click.Group):
    """Commands whose mistakes end in one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        prepare_streams()
        try:
            current_directory()
            return super().invoke(ctx)
        except TuneAppError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)


def prepare_streams() -> None:
    """Make closed streams lead nowhere, and print as an escape what a stream cannot encode.

    The descriptor of a closed one would be that of the next file which is opened, a record perhaps, and Ray writes
    to it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@click.group("tune-app", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION)
def main() -> None:
    """Search hyperparameters of "What is torch.nn really?" on MNIST with Ray Tune.

    Example: tune-app search quick
    """


for command in (
    *(plan, search, resume, extend, confirm, package),
    *(list_experiments, remove, status, report, results, export),
    *(train, verify, predict, levels, check, validate),
):
    main.add_command(command)
