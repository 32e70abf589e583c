"""A plan for people, and how wrong it was."""

from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tune_app.experiment.history import COMPLETED, RUNNING, Experiment, History
from tune_app.experiment.plan import Memory, Plan, Range, Rung
from tune_app.experiment.settings import Settings
from tune_app.output.summary import seconds
from tune_app.output.view import duration

COMPARABLE = ("completed", "time budget")
"""Reasons for the end of a search that a plan takes into account."""


def plan_view(plan: Plan, settings: Settings, space: str) -> RenderableType:
    """Trials at each rung, time, memory and disk, and what to do next. `space`: as it was given."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("family")
    for column in ("epoch", "reached by", "passed by"):
        table.add_column(column, justify="right")
    for rung in plan.rungs:
        last = rung.epoch == settings.max_epochs
        table.add_row(rung.family, f"{rung.epoch:g}", f"{rung.reach:.1f}", "" if last else f"{rung.go_on:.1f}")
    head = (
        f"{plan.name}: {plan.trials} trials of up to {settings.max_epochs} epochs, {plan.at_once} at once;"
        f" measured in {duration(plan.calibration_seconds)}"
    )
    lines = [
        f"wall time  {time_words(plan.seconds)}, and {duration(plan.start_seconds)} before to start Ray",
        f"epochs     {number_words(plan.epochs)}",
        f"memory     {memory_words(plan.memory, plan.at_once)}",
        f"disk       {megabytes(plan.disk)}",
    ]
    if settings.target is not None:
        lines.append(f"The target {settings.target:g} may end it earlier: that is not in the plan.")
    lines.append(f"Search it, with the same options: tune-app search {space}")
    return Group(Text(head), table, Text("\n".join(lines)))


def time_words(value: Range) -> str:
    """Seconds with their range: 2 min 5 s (1 min 40 s to 2 min 51 s)."""
    return range_words(value, duration)


def number_words(value: Range) -> str:
    """A number with its range: 121 (95 to 140)."""
    return range_words(value, "{:.0f}".format)


def range_words(value: Range, words: Callable[[float], str]) -> str:
    """A median with its range, where there is one."""
    low, middle, high = words(value.low), words(value.median), words(value.high)
    return middle if low == high else f"{middle} ({low} to {high})"


def memory_words(memory: Memory, at_once: int) -> str:
    """All of it, and its parts."""
    total = at_once * memory.worker + memory.driver + memory.ray
    ray = f", Ray {megabytes(memory.ray)}" if memory.ray else ""
    workers = f"{at_once} workers of {megabytes(memory.worker)}"
    return f"{megabytes(total)}: {workers}, driver {megabytes(memory.driver)}{ray}"


def megabytes(number: float) -> str:
    """Bytes as 5 MB, or 0.3 MB."""
    return f"{number / 1e6:.0f} MB" if number >= 10e6 else f"{number / 1e6:.1f} MB"


def comparison(experiment: Experiment) -> dict[str, Any] | None:
    """What was planned beside what happened, None without a plan; `not_compared` says why it cannot be compared.

    `reach` of what it took: by planned rung, how many trials came to it.
    """
    plan = experiment.history.plan
    if plan is None:
        return None
    reason = why_not(experiment)
    took = None
    if reason is None:
        trained = sum(trial.epoch for trial in experiment.history.trials)
        reached = [reach(experiment.history, rung) for rung in plan.rungs]
        took = {"seconds": seconds(experiment), "epochs": trained, "reach": reached}
    return {
        "planned": plan.model_dump(include={"seconds", "epochs", "rungs"}),
        "took": took,
        "not_compared": reason,
    }


def reach(history: History, rung: Rung) -> int:
    """How many trials of the rung's family came to it, or to the end."""
    if rung.epoch < history.spec.settings.max_epochs:
        return len(history.rungs.get(rung.family, {}).get(rung.epoch, ()))
    return sum(trial.family == rung.family and trial.state == COMPLETED for trial in history.trials)


def why_not(experiment: Experiment) -> str | None:
    """Why a search cannot be compared with its plan: it was not one search from start to end; None if it can."""
    history = experiment.history
    if any(entry["event"] == "extended" for entry in history.searches):
        return "it was extended"
    if len(history.spans) > 1:
        return "it was interrupted and resumed"
    if experiment.state == RUNNING:
        return "it is running"
    end = history.end
    if end is None or end["reason"] not in COMPARABLE:
        return "it reached its target" if end and end["reason"] == "target" else "it was interrupted"
    return None


def comparison_words(experiment: Experiment) -> str | None:
    """How wrong the plan was, in a line; None without a plan."""
    plan, compared = experiment.history.plan, comparison(experiment)
    if plan is None or compared is None:
        return None
    planned = f"planned {time_words(plan.seconds)} and {number_words(plan.epochs)} epochs"
    took = compared["took"]
    if took is None:
        return f"{planned}; not compared: {compared['not_compared']}"
    return f"{planned}; took {duration(took['seconds'])} and {took['epochs']:.0f}"
