"""tune-app report and results: what a search found, for others and for other programs."""

from pathlib import Path

import click

from tune_app.cli.options import PATH, Directory, experiments_dir


@click.command()
@click.argument("name", required=False)
@click.option("-o", "--output", type=PATH, help="The file to write.  [default: NAME-report.html]")
@experiments_dir
def report(name: str | None, output: Path | None, experiments_dir: Directory) -> None:
    """Explain experiment NAME in one HTML file, also while it runs. Without NAME: the newest.

    The page needs no network: open it in a browser, send it, print it.

    Example: tune-app report quick-20261124-101500
    """
    from tune_app.output.report.page import report_html
    from tune_app.storage.load import load_experiment
    from tune_app.whole import whole

    experiment = load_experiment(name, experiments_dir)
    path = output or Path(f"{experiment.name}-report.html")
    with whole(path) as part:
        part.write_text(report_html(experiment), encoding="utf-8", errors="backslashreplace")
    click.echo(f"wrote {path}")


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    help="The file to write: .parquet or .csv. For tensorboard a folder to make, for mlflow a tracking URI"
    " or an SQLite file to add to.  [default: NAME-results.parquet, NAME-tensorboard, NAME-mlflow.db]",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["tensorboard", "mlflow"]),
    help="For another tool, a run for each trial.  [default: a file, by its ending]",
)
@experiments_dir
def results(name: str, output: str | None, kind: str | None, experiments_dir: Directory) -> None:
    """Write all results of experiment NAME, one row per result, with config and decision.

    For mlflow it needs an extra: pip install 'tune_app[mlflow]'

    Example: tune-app results quick-20261124-101500 -o results.csv
    """
    from tune_app.output.results import write_results
    from tune_app.output.tracking import without_password, write_mlflow, write_tensorboard
    from tune_app.storage.load import load_experiment
    from tune_app.typed_path import typed_path

    if kind == "mlflow":
        where = output or f"{name}-mlflow.db"
        n = write_mlflow(load_experiment(name, experiments_dir), where)
        click.echo(f"wrote {without_password(where)}: {n} results")
        return
    ending, write = ("-tensorboard", write_tensorboard) if kind else ("-results.parquet", write_results)
    path = typed_path(output or f"{name}{ending}")
    n = write(load_experiment(name, experiments_dir), path)
    click.echo(f"wrote {path}: {n} results")
