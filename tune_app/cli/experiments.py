"""tune-app list, remove, status, report, results and export: what lies in the experiments directory."""

from pathlib import Path

import click

from tune_app.cli.options import PATH, Directory, as_json, experiments_dir, present


@click.command("list")
@experiments_dir
@as_json
def list_experiments(experiments_dir: Directory, as_json: bool) -> None:
    """List the experiments, the newest first, with their size on disk.

    Example: tune-app list
    """
    from tune_app.output.summary import listing
    from tune_app.output.view import listing_table

    rows = listing(experiments_dir)
    if rows or as_json:
        present(rows if as_json else listing_table(rows))
    else:
        click.echo(f"{experiments_dir}: no experiments yet")


@click.command()
@click.argument("name")
@experiments_dir
def remove(name: str, experiments_dir: Directory) -> None:
    """Remove experiment NAME and everything that was kept of it.

    Example: tune-app remove quick-20261124-101500
    """
    from tune_app.storage.load import remove_experiment

    remove_experiment(name, experiments_dir)
    click.echo(f"removed {experiments_dir / name}")


@click.command()
@click.argument("name", required=False)
@click.option("--trial", type=int, help="Show one trial: its config, results and decisions.")
@click.option("--task", is_flag=True, help="Show the files of its task as they are recorded; none is executed.")
@experiments_dir
@as_json
def status(name: str | None, trial: int | None, task: bool, experiments_dir: Directory, as_json: bool) -> None:
    """Show what ran and how it went, also while it runs. Without NAME: the newest experiment.

    Example: tune-app status --trial 3
    """
    from tune_app.output.confirmation import confirmation_view
    from tune_app.output.summary import summary, trial_detail
    from tune_app.output.view import files_view, status_view, trial_view
    from tune_app.storage.load import load_confirmation, load_experiment

    experiment = load_experiment(name, experiments_dir)
    if task:
        files = experiment.history.spec.task.files
        present(files if as_json else files_view(files) or "tutorial: comes with this package")
    elif trial is not None:
        one = experiment.trial(trial)
        present(trial_detail(experiment, one) if as_json else trial_view(experiment, one))
    else:
        present(summary(experiment) if as_json else status_view(experiment))
        if not as_json and (confirmation := load_confirmation(experiment)):
            present(confirmation_view(confirmation))


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
    from tune_app.output.results import without_password, write_mlflow, write_results, write_tensorboard
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


@click.command()
@click.argument("name")
@click.option("-o", "--output", type=PATH, help="The folder to make.  [default: NAME-best]")
@experiments_dir
@as_json
def export(name: str, output: Path | None, experiments_dir: Directory, as_json: bool) -> None:
    """Write the best config of NAME as a folder for reuse: config, weights, train.py, model card and manifest.

    Example: tune-app export quick-20261124-101500 -o best
    """
    from tune_app.bundle.export import export_best
    from tune_app.bundle.manifest import FILES, MANIFEST
    from tune_app.storage.load import load_experiment

    experiment = load_experiment(name, experiments_dir)
    folder = output or Path(f"{name}-best")
    manifest = export_best(experiment, folder)
    if as_json:
        present({"folder": str(folder), **manifest})
    else:
        click.echo(f"wrote {folder}: {', '.join([*FILES, MANIFEST])}")
        click.echo(f"Train it again: tune-app verify {folder}")
