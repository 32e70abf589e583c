"""The findings of a search, and a plan for one, for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from tune_app.experiment.experiment import INTERRUPTED, Experiment
from tune_app.experiment.settings import Settings
from tune_app.experiment.trial import COMPLETED, FAILED, RUNNING, STOPPED, Trial
from tune_app.output.summary import baseline, seconds_left, seconds_searched
from tune_app.output.terminal import plain_table
from tune_app.task.result import Result
from tune_app.task.task import config_words

if TYPE_CHECKING:
    from tune_app.plan import Plan

MOST_SHOWN = 200
"""The most trials in a table: ten thousand take seconds to print, and nobody reads them."""


def duration(value: float) -> str:
    """Seconds in words: 7 s, 2 min 5 s, 1 h 12 min."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counts(experiment: Experiment) -> str:
    """The number of trials, in all and by state."""
    history = experiment.history
    words = [
        f"{history.count(state)} {word}"
        for state, word in ((COMPLETED, "completed"), (STOPPED, "stopped early"), (FAILED, "failed"))
    ]
    if history.paused:
        words.append(f"{len(history.paused)} paused")
    if history.at_work:
        words.append(f"{len(history.at_work)} {'running' if experiment.held else 'interrupted'}")
    n = len(history.trials)
    return f"{n} {'trial' if n == 1 else 'trials'}: {', '.join(words)}"


def outcome(experiment: Experiment) -> str:
    """The end of a search: the best config, how much better it is than the baseline, and what to do next."""
    history = experiment.history
    lines = []
    end = history.end
    if end and end["reason"] != "completed":
        lines.append(
            {
                "time budget": "The time budget is used up.",
                "target": "The target is reached.",
                "patience": "The best has not improved for as many trials as patience allows"
                f" ({history.spec.settings.patience}).",
                "changed data": "The search was stopped: a trial wrote to the data that all trials share.",
                "error": "The search was stopped: the first trials all failed with the same error."
                if history.count(FAILED)
                else "The search was stopped: the workers of all trials so far were killed for want of memory.",
            }.get(end["reason"], f"The search was {end['reason']}.")
        )
    lines.append(f"{counts(experiment)}; {duration(seconds_searched(history))}")
    lines += [came_out_otherwise(trial) for trial in history.trials if trial.otherwise][:1]
    best = history.best
    if experiment.state == INTERRUPTED:
        lines.append(f"Go on: tune-app resume {experiment.name}")
    if best is None:
        first = next((trial for trial in history.trials if trial.reason or trial.losses), None)
        if first:
            lines.append(f"No trial succeeded. Trial {first.number}: {first.reason or first.last_loss['reason']}")
            lines.append(f"More: tune-app status {experiment.name} --trial {first.number}")
            lines.append(f"Repeat it in the foreground: tune-app train {experiment.name} --trial {first.number}")
        return "\n".join(lines)
    config = experiment.trial(best.trial).config
    lines.append(f"Best: {value_words(experiment, best)} of trial {best.trial}")
    lines.append(f"  {config_words(config)}")
    if compared := comparison(experiment):
        lines.append(f"  {compared}")
    lines.append(f"Export it: tune-app export {experiment.name}")
    return "\n".join(lines)


def came_out_otherwise(trial: Trial) -> str:
    """The difference between a result of a trial and the same one computed again."""
    assert trial.otherwise is not None
    name, was, now = trial.otherwise["value"]
    return (
        f"Trial {trial.number} does not repeat itself: at epoch {trial.otherwise['epoch']:g},"
        f" {name.replace('_', ' ')} was {was}, and then {now}. Another CPU may do that, or what no state keeps:"
        " tune-app check"
    )


def value_words(experiment: Experiment, result: Result) -> str:
    """The search's metric in a result: valid accuracy 0.9639 at epoch 7.75."""
    metric = experiment.history.metric
    return f"{metric.words} {metric.value(result):.4f} at epoch {result.epoch:g}"


def comparison(experiment: Experiment) -> str:
    """The gain of the best over the baseline; empty if the baseline was not tried."""
    best, first = experiment.history.best, baseline(experiment)
    if best is None or first is None:
        return ""
    if best.trial == 0:
        return "It is the baseline: no other was better."
    metric = experiment.history.metric
    value = metric.value(first)
    return (
        f"{metric.gain(metric.value(best), value):.4f} better than the baseline: {value:.4f}"
        f" at epoch {first.epoch:g} (trial 0)"
    )


def status_view(experiment: Experiment) -> RenderableType:
    """The state of a search, and a line for each trial."""
    history, metric = experiment.history, experiment.history.metric
    table = plain_table("trial", "epoch", metric.words, "state", "config", text=("state", "config"))
    table.columns[-2].no_wrap = True
    best, trials, end = history.best, history.trials, history.end
    for trial in shown(experiment):
        value = f"{metric.value(trial.results[-1]):.4f}" if trial.results else ""
        state = experiment.trial_state(trial)
        mark = " *" if best and best.trial == trial.number else ""
        table.add_row(str(trial.number), f"{trial.epoch:g}", value, state, config_words(trial.config) + mark)
    head = f"{experiment.name}: {experiment.state}"
    if end and experiment.state != RUNNING and end["reason"] != "completed":
        head += f" ({end['reason']})"
    lines = [head, f"{counts(experiment)}; {duration(seconds_searched(history))}"]
    if (task := history.spec.task).files:
        lines.insert(1, f"task: {task.name} {task.digest}")
    left = seconds_left(history, history.spec.num_trials) if experiment.held else None
    if left is not None:
        lines[-1] += f", about {duration(left)} left"
    if best:
        lines.append(f"* best: {value_words(experiment, best)} of trial {best.trial}")
    parts: list[RenderableType] = [Text("\n".join(lines)), table]
    if len(trials) > MOST_SHOWN:
        parts.append(Text(f"These are running or the best of {len(trials)}; --json shows all, --trial any."))
    return Group(*parts)


def files_view(files: Mapping[str, str]) -> str:
    """The text of files, with an escape in the place of whatever would move a terminal's cursor."""
    text = "\n".join(f"# ---- {name}\n{content}" for name, content in files.items())
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def shown(experiment: Experiment) -> list[Trial]:
    """All trials; of more than `MOST_SHOWN`, those that have not ended, and the best."""
    trials = experiment.history.trials
    if len(trials) <= MOST_SHOWN:
        return trials
    best = {trial.number for trial in experiment.history.ranked()[:MOST_SHOWN]}
    return [trial for trial in trials if not trial.ended or trial.number in best]


def trial_view(experiment: Experiment, trial: Trial) -> RenderableType:
    """One trial: config, results and decisions, and a failed one's traceback."""
    head = [f"{experiment.name}, trial {trial.number}: {experiment.trial_state(trial)}"]
    if trial.reason:
        head.append(trial.reason)
    head.append(f"{config_words(trial.config)}; seed {trial.seed}")
    if trial.otherwise:
        head.append(came_out_otherwise(trial))
    head += [
        f"attempt {a['attempt']} on {a['node']}, process {a['pid']}, {a['threads']} threads" for a in trial.attempts
    ]
    metric = experiment.history.metric
    measured = sorted(experiment.history.spec.task.metrics.values(), key=lambda other: other is not metric)
    words = (other.words for other in measured)
    table = plain_table("epoch", *words, "train loss", "seconds", "decision", text=("decision",))
    for r in trial.results:
        took = r.train_seconds + r.valid_seconds
        table.add_row(
            f"{r.epoch:g}",
            *(f"{other.value(r):.4f}" if other.name in r.valid else "" for other in measured),
            f"{r.train_loss:.4f}",
            f"{took:.2f}",
            decision_words(trial, r),
        )
    parts: list[RenderableType] = [Text("\n".join(head)), table]
    if trial.traceback:
        parts.append(Text(trial.traceback.strip()))
    return Group(*parts)


def decision_words(trial: Trial, result: Result) -> str:
    """The decision at a result and its reason, and the promotion after a pause."""
    if result.rung is None:
        return "" if result.decision == "continue" else "end"
    if result.cutoff is not None:
        why = f"cutoff {result.cutoff:.4f} of {result.compared}"
    else:
        others = "1 other" if result.compared == 1 else f"{result.compared} others"
        why = f"with {others}" if result.compared else "the first"
    words = f"{result.decision}: {why} at rung {result.rung:g}"
    for promotion in trial.promotions:
        if promotion["k"] == result.k:
            words += f"; promoted: cutoff {promotion['cutoff']:.4f} of {promotion['of']}"
    return words


def listing_table(rows: list[dict[str, Any]]) -> RenderableType:
    """The experiments as a table."""
    own = any(row["task"] and row["task"]["name"] != "tutorial" for row in rows)
    text = ("name", *(["task"] if own else []), "created", "state")
    table = plain_table(*text, "trials", "best", "size", text=text)
    for row in rows:
        created = f"{datetime.fromtimestamp(row['created']):%Y-%m-%d %H:%M}" if row["created"] else ""
        best = f"{row['metric'].replace('_', ' ')} {row['best']:.4f}" if row["best"] is not None else ""
        trials = "" if row["trials"] is None else str(row["trials"])
        task = [" ".join(row["task"].values()) if row["task"] else ""] if own else []
        table.add_row(row["name"], *task, created, row["state"], trials, best, f"{row['bytes'] / 1e6:.1f} MB")
    return table


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
    for name, value in (("target", settings.target), ("patience", settings.patience)):
        if value is not None:
            lines.append(f"The {name} {value:g} may end it earlier.")
    lines.append(f"Search it, with the same options: tune-app search {space}")
    return Group(Text(head), table, Text("\n".join(lines)))
