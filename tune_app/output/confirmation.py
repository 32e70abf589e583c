"""What a confirmation found, for people."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tune_app.experiment.findings import Confirmation
from tune_app.experiment.race import ROUNDS
from tune_app.output.terminal import print_renderable
from tune_app.output.view import duration
from tune_app.task.task import config_words

OUTCOMES = {
    "racing": "still in the race",
    "out": "out: clearly worse than the leader",
    "behind": "behind, though not clearly worse",
    "tie": "cannot be told apart from the leader",
}


def print_confirmation(confirmation: Confirmation) -> None:
    """Print it for people."""
    print_renderable(confirmation_view(confirmation))


def confirmation_view(confirmation: Confirmation) -> RenderableType:
    """The answer first, then how each config came through."""
    return Group(Text("\n".join(answer(confirmation))), candidates_table(confirmation))


def answer(confirmation: Confirmation) -> list[str]:
    """What was found, in sentences."""
    name, findings = confirmation.of.name, confirmation.findings
    lines = []
    if not confirmation.finished:
        lines.append(f"The confirmation was interrupted. Go on: tune-app confirm {name}")
    winner, measured = confirmation.winner, findings.measured
    if winner is None or not measured.runs:
        return lines
    metric, mean, interval = confirmation.of.history.metric, measured.mean, measured.interval
    if mean is None:
        lines.append(f"All {measured.failed} seeds of the winner failed: {measured.runs[0].reason}")
    elif interval is None:
        lines.append(f"Confirmed: {metric.words} {mean:.4f} with one seed, so without an interval")
    else:
        lines.append(
            f"Confirmed: {metric.words} {mean:.4f}, 95 % interval {interval[0]:.4f} to {interval[1]:.4f},"
            f" over {len(measured.succeeded)} fresh seeds"
        )
    lines.append(f"  {config_words(winner.config)}; {winner.epochs:g} epochs (trial {winner.trial})")
    if mean is not None:
        least, most = min(measured.values), max(measured.values)
        lines.append(f"  from {least:.4f} to {most:.4f}; {measured.failed} of {len(measured.runs)} seeds failed")
    tie = [c.trial for c, s in zip(findings.candidates, findings.standings, strict=True) if s.state == "tie"]
    if len(tie) > 1:
        lines.append(f"  trials {', '.join(map(str, tie))} cannot be told apart; this is the cheapest of them")
    if confirmation.tested and not confirmation.test_values:
        lines.append("On the test data no value was finite.")
    elif confirmation.tested:
        times = "once" if confirmation.tests_read == 1 else f"{confirmation.tests_read} times for this search"
        of, (value, interval) = next(iter(confirmation.test_values.items()))
        sure = f", 95 % interval {interval[0]:.4f} to {interval[1]:.4f}," if interval else ""
        lines.append(
            f"{of.on_test.replace('_', ' ').capitalize()}: {value:.4f}{sure}"
            f" on {confirmation.tested_items:,} items, read {times}"
        )
    elif confirmation.finished and mean is not None:
        lines.append("There are no test data, so nothing was tested.")
    best, optimism = confirmation.of.history.best, confirmation.optimism
    if best and optimism is not None:
        difference = f"{abs(optimism):.4f} {'better' if optimism > 0 else 'worse'}"
        lines.append(
            f"The search's best, {metric.value(best):.4f} (trial {best.trial}), was {difference} than the mean"
            " of the same config over fresh seeds"
        )
    trials = confirmation.of.history.trials
    if best and best.trial not in {candidate.trial for candidate in findings.candidates}:
        lines.append(f"The search has gone on since, to {len(trials)} trials: --again confirms its best of now.")
    return lines


def candidates_table(confirmation: Confirmation) -> RenderableType:
    """How each config came through the race, and what it costs."""
    findings = confirmation.findings
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("trial", "search", "rounds", "mean", "epochs", "parameters", "time"):
        table.add_column(column, justify="right")
    table.add_column("outcome")
    for i, (candidate, standing) in enumerate(zip(findings.candidates, findings.standings, strict=True)):
        mean, took = findings.mean(i), findings.run_seconds(i)
        table.add_row(
            str(candidate.trial),
            f"{candidate.value:.4f}",
            f"{len(standing.errors)} of {ROUNDS}",
            "" if mean is None else f"{mean:.4f}",
            f"{candidate.epochs:g}",
            f"{candidate.parameters:,}",
            "" if took is None else duration(took),
            "wins" if i == findings.winner else OUTCOMES[standing.state],
        )
    return table
