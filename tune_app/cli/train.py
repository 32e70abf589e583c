"""tune-app train."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from tune_app.cli.options import PATH, Directory, as_json, experiments_dir, print_json, run_its_code


@click.command()
@click.argument("config", type=PATH)
@click.argument("values", nargs=-1)
@click.option("--trial", type=int, help="Train this trial of an experiment: CONFIG is the experiment's name.")
@click.option("--epochs", type=click.IntRange(1, 10_000), default=5, help="Of a task's config.  [default: 5]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Of a task's config.  [default: 0]")
@experiments_dir
@click.option("--data", help="What is trained on.  [default: as exported]")
@run_its_code
@as_json
def train(
    config: Path,
    values: tuple[str, ...],
    trial: int | None,
    epochs: int,
    seed: int,
    experiments_dir: Directory,
    data: str | None,
    run_its_code: bool,
    as_json: bool,
) -> None:
    """Train an exported CONFIG.yaml without Ray, up to the exported epoch, and compare.

    With --trial, any trial of an experiment, up to where it came; one that failed fails here with its traceback.
    CONFIG may also be the file or folder of a task, before VALUES: a level and NAME=VALUE of its hyperparameters.

    Example: tune-app train best/config.yaml
    """
    from tune_app.bundle import retrain
    from tune_app.task.loading import load
    from tune_app.task.recorded import require_run_here

    own, home = config.is_dir() or config.suffix == ".py", None
    to_read = ""
    if own:
        chosen, home = retrain.from_task(config, values, epochs, seed), config.absolute()
    elif values:
        raise click.UsageError(f"{values[0]}: goes with the file or folder of a task alone")
    elif trial is None:
        chosen = retrain.read_exported(config)
        to_read = str(config.parent / (chosen.settings.task or ""))
    else:
        from tune_app.bundle.export import trial_again
        from tune_app.storage.load import load_experiment

        experiment = load_experiment(str(config), experiments_dir)
        chosen, home = retrain.as_exported(config, *trial_again(experiment, trial)), experiment.history.spec.home
        to_read = f"{', '.join(chosen.task.files)} (tune-app status {config} --task)"
    require_run_here(chosen.task, str(config), to_read, run_its_code or own)
    metric, found, stdout = chosen.metric, list[float](), sys.stdout
    with redirect_stdout(sys.stderr):  # where what the task prints goes
        from tune_app.task.loop.build import usable

        loaded = load(chosen.task, data or chosen.settings.data, home)
        device = usable(chosen.settings.device)
        for result in retrain.train_exported(chosen, loaded.content, device):
            found.append(metric.value(result))
            if not as_json:
                click.echo(f"epoch {result.epoch:<6g} {metric.words} {found[-1]}", stdout)
    verdict = retrain.verdict(chosen, loaded.digest, device, found)
    if as_json:
        print_json({metric.plural: found, **verdict})
        return
    many = metric.words_of_many
    if verdict["same"]:
        click.echo(f"The same {many} as in the search.")
    elif verdict["recorded"]:
        click.echo(f"Not the same {many} as in the search, which ended at {verdict['recorded'][-1]}.")
    for difference in [] if own else verdict["differences"]:
        click.echo(f"  different: {difference}")
