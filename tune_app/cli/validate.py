"""tune-app validate."""

import click

from tune_app.cli.options import as_json, print_json
from tune_app.errors import TuneAppError


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
        print_json(space_schema(source.task))
        return
    settings = source.settings
    try:
        at_once = share_of_cpus(settings).at_once
    except TuneAppError:  # a cluster may have what this machine lacks
        at_once = 0
    stops = rungs(settings)
    if as_json:
        print_json(
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
