"""tune-app confirm."""

from typing import TYPE_CHECKING

import click

from tune_app.cli.exit_codes import INTERRUPTED, NOT_COPIED, NOTHING_SUCCEEDED
from tune_app.cli.options import Directory, as_json, experiments_dir, print_json, quiet, run_its_code, where_options

if TYPE_CHECKING:
    from tune_app.cluster.connect import Where


@click.command()
@click.argument("name")
@click.option(
    "--top", type=click.IntRange(1, 50), default=5, show_default=True, help="How many of the best configs race."
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="How many further seeds measure the winner.",
)
@click.option("--again", is_flag=True, help="Confirm once more, with other seeds: the test data are read again.")
@run_its_code
@where_options
@experiments_dir
@quiet
@as_json
@click.pass_context
def confirm(
    ctx: click.Context,
    /,
    name: str,
    top: int,
    seeds: int,
    again: bool,
    run_its_code: bool,
    where: "Where",
    experiments_dir: Directory,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the best configs of NAME again with fresh seeds, name the winner and what it is worth.

    The best configs race over paired seeds; what is clearly worse drops out, and of those that cannot be told
    apart the cheapest wins. Further seeds measure the winner. Then the test data are read, once. Asking again
    shows what was found; a confirmation that was interrupted goes on.

    Example: tune-app confirm quick-20261124-101500
    """
    from tune_app import api
    from tune_app.output.confirmation import confirmation_view
    from tune_app.output.summary import confirmation_summary
    from tune_app.output.terminal import print_renderable

    confirmation = api.confirm(name, top, seeds, again, experiments_dir, where, quiet, run_its_code)
    if as_json:
        print_json(confirmation_summary(confirmation))
    else:
        print_renderable(confirmation_view(confirmation))
        if confirmation.tested:
            click.echo(f"Export it: tune-app export {name}")
    if confirmation.experiment.not_copied:
        click.echo(f"Error: {confirmation.experiment.not_copied}", err=True)
        ctx.exit(NOT_COPIED)
    if not confirmation.finished:
        ctx.exit(INTERRUPTED)
    if confirmation.findings.measured.mean is None:
        ctx.exit(NOTHING_SUCCEEDED)
