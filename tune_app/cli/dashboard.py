"""tune-app dashboard."""

import click

from tune_app.cli.options import Directory, experiments_dir


@click.command()
@click.argument("name", required=False)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Listen there, on 127.0.0.1 alone; 0 is any free port.",
)
@experiments_dir
def dashboard(name: str | None, port: int, experiments_dir: Directory) -> None:
    """Show experiment NAME in Optuna's dashboard, also while it runs. Without NAME: the newest.

    Prints the URL when it can be opened. For reading only: what could change something is refused. Ctrl-C or
    SIGTERM ends it, with exit code 0. It needs an extra: pip install 'tune_app[dashboard]'

    Example: tune-app dashboard quick-20261124-101500
    """
    from tune_app.output.dashboard import serve
    from tune_app.storage.load import load_experiment

    serve(load_experiment(name, experiments_dir), port, click.echo)
