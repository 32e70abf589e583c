"""The findings of a confirmation, for people."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from tune_app.experiment.findings import Confirmation
from tune_app.experiment.race import ROUNDS
from tune_app.experiment.spec import Candidate
from tune_app.output.terminal import plain_table
from tune_app.output.view import duration
from tune_app.task.task import config_words

OUTCOMES = {
    "racing": "still in the race",
    "out": "out: clearly worse than the leader",
    "behind": "behind, though not clearly worse",
    "tie": "cannot be told apart from the leader",
}
Row = tuple[int, float, int, float | None, float, int, float | None, str]


def confirmation_view(confirmation: Confirmation) -> RenderableType:
    """The answer, then a row for each config."""
    return Group(Text("\n".join(answer(confirmation))), candidates_table(confirmation))


def answer(confirmation: Confirmation) -> list[str]:
    """The findings in sentences."""
    lines = []
    if not confirmation.finished:
        lines.append(f"The confirmation was interrupted. Go on: tune-app confirm {confirmation.of.name}")
    if confirmation.winner is None or not confirmation.findings.measured.runs:
        return lines
    lines += about_the_winner(confirmation, confirmation.winner)
    return [*lines, *about_the_test_data(confirmation), *about_the_search(confirmation)]


def about_the_winner(confirmation: Confirmation, winner: Candidate) -> Iterator[str]:
    """Its mean over fresh seeds, its config, and the configs that cannot be told apart from it."""
    findings, metric = confirmation.findings, confirmation.of.history.metric
    measured = findings.measured
    mean, interval = measured.mean, measured.interval
    if mean is None:
        yield f"All {measured.failed} seeds of the winner failed: {measured.runs[0].reason}"
    elif interval is None:
        yield f"Confirmed: {metric.words} {mean:.4f} with one seed, so without an interval"
    else:
        sure = f"95 % interval {interval[0]:.4f} to {interval[1]:.4f}"
        yield f"Confirmed: {metric.words} {mean:.4f}, {sure}, over {len(measured.succeeded)} fresh seeds"
    yield f"  {config_words(winner.config)}; {winner.epochs:g} epochs (trial {winner.trial})"
    if mean is not None:
        least, most = min(measured.values), max(measured.values)
        yield f"  from {least:.4f} to {most:.4f}; {measured.failed} of {len(measured.runs)} seeds failed"
    tie = [c.trial for c, s in zip(findings.candidates, findings.standings, strict=True) if s.state == "tie"]
    if len(tie) > 1:
        yield f"  trials {', '.join(map(str, tie))} cannot be told apart; this is the cheapest of them"


def about_the_test_data(confirmation: Confirmation) -> Iterator[str]:
    """The value on the test data, or why there is none."""
    if confirmation.tested and not confirmation.test_values:
        assert confirmation.tested is not None
        yield f"Nothing is known of the test data: {confirmation.tested.get('error', 'no value was finite')}"
    elif confirmation.tested:
        times = "once" if confirmation.tests_read == 1 else f"{confirmation.tests_read} times for this search"
        of, (value, interval) = next(iter(confirmation.test_values.items()))
        sure = f", 95 % interval {interval[0]:.4f} to {interval[1]:.4f}," if interval else ""
        name = of.on_test.replace("_", " ").capitalize()
        yield f"{name}: {value:.4f}{sure} on {confirmation.tested_items:,} items, read {times}"
    elif confirmation.finished and confirmation.findings.measured.mean is not None:
        yield "There are no test data, so nothing was tested."


def about_the_search(confirmation: Confirmation) -> Iterator[str]:
    """The difference of the search's best value from the mean of its config, and whether there is a new best."""
    history, optimism = confirmation.of.history, confirmation.optimism
    best = history.best
    if best and optimism is not None:
        difference = f"{abs(optimism):.4f} {'better' if optimism > 0 else 'worse'}"
        found = f"The search's best, {history.metric.value(best):.4f} (trial {best.trial})"
        yield f"{found}, was {difference} than the mean of the same config over fresh seeds"
    if best and best.trial not in {candidate.trial for candidate in confirmation.findings.candidates}:
        yield f"The search has gone on since, to {len(history.trials)} trials: --again confirms its best of now."


def candidate_rows(confirmation: Confirmation) -> list[Row]:
    """Each config: trial, value in the search, rounds, mean, epochs, parameters, seconds of a run, outcome."""
    findings = confirmation.findings
    rows: list[Row] = []
    for i, (candidate, standing) in enumerate(zip(findings.candidates, findings.standings, strict=True)):
        outcome = "wins" if i == findings.winner else OUTCOMES[standing.state]
        in_the_race = (len(standing.errors), findings.mean(i))
        cost = (candidate.epochs, candidate.parameters, findings.run_seconds(i))
        rows.append((candidate.trial, candidate.value, *in_the_race, *cost, outcome))
    return rows


def candidates_table(confirmation: Confirmation) -> RenderableType:
    """A row for each config of the race."""
    columns = ("trial", "search", "rounds", "mean", "epochs", "parameters", "time", "outcome")
    table = plain_table(*columns, text=("outcome",))
    for trial, value, rounds, mean, epochs, parameters, seconds, outcome in candidate_rows(confirmation):
        table.add_row(
            str(trial),
            f"{value:.4f}",
            f"{rounds} of {ROUNDS}",
            "" if mean is None else f"{mean:.4f}",
            f"{epochs:g}",
            f"{parameters:,}",
            "" if seconds is None else duration(seconds),
            outcome,
        )
    return table
