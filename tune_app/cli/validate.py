"""tune-app validate."""

import click

from tune_app.cli.options import as_json, print_json
from tune_app.errors import TuneAppError


@click.command()
@click.argument("space", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of space files instead.")
@as_json
def validate(space: str | None, schema: bool, as_json: bool) -> None:
    """Check the space file SPACE and show what would be searched.

    Example: tune-app validate search_spaces/tutorial.yaml
    """
    from tune_app.experiment.space import SpaceFile, load_space
    from tune_app.tuning.resources import share, this_machine
    from tune_app.tuning.scheduler import rungs

    if schema:
        print_json(SpaceFile.model_json_schema())
        return
    if space is None:
        raise click.UsageError("SPACE is missing: a YAML file or the name of a shipped one")
    source = load_space(space)
    settings = source.settings
    try:
        each = share(this_machine(), settings)
        at_once, gpu_share = each.at_once, each.gpus
    except TuneAppError:  # a cluster may have what this machine lacks
        at_once, gpu_share = 0, 0.0 if settings.gpus_per_trial == "auto" else settings.gpus_per_trial
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
    gpus = f" and {gpu_share:g} GPUs" if gpu_share else ""
    cpus = "1 CPU" if settings.cpus_per_trial == 1 else f"{settings.cpus_per_trial:g} CPUs"
    click.echo(f"  each trial    {cpus}{gpus}; {at_once} at once on this machine")
