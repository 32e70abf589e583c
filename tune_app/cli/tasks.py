"""tune-app levels, validate, check, plan and train: a task and its space, before and without a search."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tune_app.cli.options import PATH, Directory, as_json, experiments_dir, present, run_its_code, settings_options
from tune_app.errors import TuneAppError

if TYPE_CHECKING:
    from tune_app.check import Checked
    from tune_app.experiment.space import SpaceSource
    from tune_app.task.task import Task


@click.command()
@click.argument("file", default="tutorial")
@as_json
def levels(file: str, as_json: bool) -> None:
    """List the levels of a task, their hyperparameters and its metrics.

    FILE is a Python file or a folder, or a space, whose task is meant. Nothing of it is executed.

    Example: tune-app levels mine.py
    """
    from tune_app.experiment.space import load_space_or_task

    task = load_space_or_task(file).task
    if as_json:
        present(as_data(task))
        return
    width = max(map(len, (*task.levels, *task.hyperparameters, *task.metrics)))
    summaries = max(len(level.summary) for level in task.levels.values())
    for number, level in enumerate(task.levels.values(), 1):
        defaults = ", ".join(f"{name} {value}" for name, value in level.defaults.items())
        click.echo(f"{number:2} {level.name:{width}}  {level.summary:{summaries}}  {defaults}".rstrip())
    click.echo(f"baseline: {task.baseline}")
    click.echo("hyperparameters:" if task.hyperparameters else "no hyperparameters")
    for h in task.hyperparameters.values():
        click.echo(f"   {h.name:{width}}  {h.allowed}{f' ({h.meaning})' if h.meaning else ''}")
    click.echo("metrics:")
    for metric in task.metrics.values():
        click.echo(f"   {metric.name:{width}}  {'more' if metric.mode == 'max' else 'less'} is better")


def as_data(task: "Task") -> dict[str, Any]:
    """The levels of a task as data for programs."""
    return {
        "task": {"name": task.name, "digest": task.digest},
        "baseline": task.baseline,
        "levels": [
            {"number": n, **level.model_dump(include={"name", "summary", "family", "defaults"})}
            for n, level in enumerate(task.levels.values(), 1)
        ],
        "hyperparameters": [
            {**h.model_dump(exclude_none=True), "allowed": h.allowed} for h in task.hyperparameters.values()
        ],
        "metrics": [metric.model_dump(exclude_none=True) for metric in task.metrics.values()],
    }


@click.command()
@click.argument("space", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of space files instead, for the task of SPACE.")
@as_json
def validate(space: str | None, schema: bool, as_json: bool) -> None:
    """Check the space file SPACE and show what would be searched.

    Example: tune-app validate search_spaces/tutorial.yaml
    """
    from tune_app.cluster.resources import share_of_cpus
    from tune_app.engine.asha import rungs
    from tune_app.experiment.space import load_space, space_schema

    if space is None and not schema:
        raise click.UsageError("SPACE is missing: a YAML file or the name of a shipped one")
    source = load_space(space or "tutorial")
    if schema:
        present(space_schema(source.task))
        return
    settings = source.settings
    try:
        at_once = share_of_cpus(settings).at_once
    except TuneAppError:  # a cluster may have what this machine lacks
        at_once = 0
    stops = rungs(settings)
    if as_json:
        present(
            {
                "name": source.name,
                "dimensions": {d.name: str(d) for d in source.space.dimensions},
                "trials": source.num_trials,
                "rungs": stops,
                "settings": settings.model_dump(),
                "trials_at_once": at_once,
            }
        )
        return
    click.echo(f"{source.name}: {source.num_trials} trials of up to {settings.max_epochs} epochs")
    for d in source.space.dimensions:
        click.echo(f"  {d.name:13} {d}")
    words = f"{', '.join(f'{rung:g}' for rung in stops)} epochs" if stops else "none"
    click.echo(f"  rungs         {words} (results {settings.results_per_epoch} times an epoch)")
    gpus = "" if settings.gpus_per_trial in ("auto", 0) else f" and {settings.gpus_per_trial:g} GPUs"
    cpus = "1 CPU" if settings.cpus_per_trial == 1 else f"{settings.cpus_per_trial:g} CPUs"
    place = "by the CPUs of this machine" if gpus else "on this machine"
    click.echo(f"  each trial    {cpus}{gpus}; {at_once} at once {place}")


@click.command()
@click.argument("file")
@click.argument("level", required=False)
@click.option("--data", help="As for tune-app search.")
@as_json
@click.pass_context
def check(ctx: click.Context, /, file: str, level: str | None, data: str | None, as_json: bool) -> None:
    """Try the levels of a task, or one LEVEL, on two batches, and check that a training goes on exactly.

    FILE is a Python file or a folder, or a space, of which the levels are tried that it searches. Each has its
    defaults; schedules are stepped as often as in a whole training.

    Example: tune-app check mine.py
    """
    from tune_app.check import check_level, load_to_check
    from tune_app.experiment.space import load_space_or_task

    source = load_space_or_task(file)
    levels = [source.task.level(level).name] if level else source.space.levels
    loaded = load_to_check(source, data)
    for text in loaded.told:
        click.echo(text, err=True)
    found = []
    for name in levels:
        found.append(check_level(source, name, loaded))
        if not as_json:
            show_level(source, found[-1])
    if as_json:
        present([{**asdict(one), "searched": searched(source, one.level)} for one in found])
    if any(one.mistake for one in found):
        ctx.exit(1)


def show_level(source: "SpaceSource", one: "Checked") -> None:
    """Print the findings about a level, and each hyperparameter as it is or could be searched."""
    if one.mistake:
        click.echo(f"Error: level '{one.level}': {one.mistake}", err=True)
        return
    click.echo(
        f"{one.level}: goes on exactly; {one.parameters:,} parameters, {one.batches_per_epoch:,} batches an epoch,"
        f" {one.seconds_per_batch:.2g} s a batch, {one.seconds_per_validation:.2g} s a validation"
    )
    processes = 1 + one.loading_processes
    if processes > max(1, source.settings.cpus_per_trial):
        click.echo(
            f"  uses {processes} processes, as its loaders have workers: cpus_per_trial {processes} counts them"
        )
    domains = searched(source, one.level)
    for name, value in source.task.levels[one.level].defaults.items():
        allowed = f"{value} (allowed: {source.task.hyperparameters[name].allowed})"
        click.echo(f"  {name:13} {domains.get(name, allowed)}")


def searched(source: "SpaceSource", level: str) -> dict[str, str]:
    """The dimensions of a level that the space searches, in words."""
    return {d.name: str(d) for d in source.space.dimensions_of(level) if d.name != "level"}


@click.command()
@click.argument("space", default="tutorial")
@settings_options
@click.option("--data", help="As for tune-app search.  [default: MNIST in the package]")
@as_json
def plan(space: str, settings: dict[str, object], data: str | None, as_json: bool) -> None:
    """Say what a search of SPACE would need: trials at each rung, epochs and time.

    The search is gone through with made-up results, and a few batches of each level are trained on this machine.

    Example: tune-app plan cnn --num-samples 8
    """
    from tune_app.cluster.resources import share_of_cpus
    from tune_app.cluster.signals import terminable
    from tune_app.experiment.space import load_space
    from tune_app.output.view import plan_view
    from tune_app.plan import plan as planned
    from tune_app.task.loading import load

    source = load_space(space, settings)
    at_once = share_of_cpus(source.settings).at_once
    with terminable(), redirect_stdout(sys.stderr):  # what a task prints is not the outcome
        loaded = load(source.task, data, source.home)
        for text in loaded.told:
            click.echo(text, err=True)
        made = planned(source, loaded, at_once)
    present(asdict(made) if as_json else plan_view(made, source.settings, space))


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

    own, home, to_read = config.is_dir() or config.suffix == ".py", None, ""
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
        chosen, home = trial_again(experiment, trial), experiment.history.spec.home
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
        present({metric.plural: found, **verdict})
        return
    many = metric.words_of_many
    if verdict["same"]:
        click.echo(f"The same {many} as in the search.")
    elif verdict["recorded"]:
        click.echo(f"Not the same {many} as in the search, which ended at {verdict['recorded'][-1]}.")
    for difference in [] if own else verdict["differences"]:
        click.echo(f"  different: {difference}")
