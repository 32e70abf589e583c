"""tune-app list, remove, status and export: what lies in the experiments directory."""

from pathlib import Path

import click

from tune_app.cli.options import PATH, Directory, as_json, experiments_dir, print_json


@click.command("list")
@experiments_dir
@as_json
def list_experiments(experiments_dir: Directory, as_json: bool) -> None:
    """List the experiments, the newest first, with their size on disk.

    Example: tune-app list
    """
    from tune_app.output.summary import listing
    from tune_app.output.terminal import print_renderable
    from tune_app.output.view import listing_table

    rows = listing(experiments_dir)
    if as_json:
        print_json(rows)
    elif rows:
        print_renderable(listing_table(rows))
    else:
        click.echo(f"{experiments_dir}: no experiments yet")


@click.command()
@click.argument("name")
@experiments_dir
def remove(name: str, experiments_dir: Directory) -> None:
    """Remove experiment NAME and everything that was kept of it.

    Example: tune-app remove quick-20261124-101500
    """
    from tune_app.storage.removal import remove_experiment

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
    from tune_app.output.terminal import print_renderable
    from tune_app.output.view import files_view, status_view, trial_view
    from tune_app.storage.load import load_confirmation, load_experiment

    experiment = load_experiment(name, experiments_dir)
    if task:
        files = experiment.history.spec.task.files
        if as_json:
            print_json(files)
        else:
            click.echo(files_view(files) or "tutorial: comes with this package")
    elif trial is not None:
        one = experiment.trial(trial)
        if as_json:
            print_json(trial_detail(experiment, one))
        else:
            print_renderable(trial_view(experiment, one))
    elif as_json:
        print_json(summary(experiment))
    else:
        print_renderable(status_view(experiment))
        if confirmation := load_confirmation(experiment):
            print_renderable(confirmation_view(confirmation))


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
        print_json({"folder": str(folder), **manifest})
    else:
        click.echo(f"wrote {folder}: {', '.join([*FILES, MANIFEST])}")
        click.echo(f"Train it again: tune-app verify {folder}")
