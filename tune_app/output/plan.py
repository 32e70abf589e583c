"""A plan for people."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from tune_app.experiment.settings import Settings
from tune_app.output.terminal import plain_table
from tune_app.output.view import duration

if TYPE_CHECKING:
    from tune_app.plan import Plan


def plan_view(plan: "Plan", settings: Settings, space: str) -> RenderableType:
    """Trials at each rung, epochs and time, and what to do next. `space`: as it was given."""
    table = plain_table("family", "epoch", "trials", text=("family",))
    for rung in plan.rungs:
        table.add_row(rung.family, f"{rung.epoch:g}", f"{rung.trials:.1f}")
    head = (
        f"{plan.name}: {plan.trials} trials of up to {settings.max_epochs} epochs, {plan.at_once} at once;"
        f" measured in {duration(plan.measured_seconds)}"
    )
    lines = [f"{plan.epochs:.0f} epochs in {duration(plan.seconds)} or more, on this machine's CPUs"]
    if plan.paused:
        lines.append(f"{plan.paused:.0f} paused trials, whose states take {plan.paused_bytes / 1e6:.1f} MB")
    if settings.time_budget is not None and settings.time_budget < plan.seconds:
        lines.append(f"The time budget of {duration(settings.time_budget)} ends it earlier.")
    if settings.target is not None:
        lines.append(f"The target {settings.target:g} may end it earlier.")
    if settings.patience is not None:
        lines.append(f"Patience with {settings.patience} trials may end it earlier.")
    lines.append(f"Search it, with the same options: tune-app search {space}")
    return Group(Text(head), table, Text("\n".join(lines)))
