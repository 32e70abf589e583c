"""The section about the confirmation, if there is one."""

import plotly.graph_objects as go

from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation, value_at_end
from tune_app.experiment.table import Cell
from tune_app.experiment.trial import FAILED
from tune_app.output.confirmation import answer, candidate_rows
from tune_app.output.report.charts import BLUE, GREY, ORANGE, styled
from tune_app.output.report.elements import Chart, Html, Section, Table, paragraph
from tune_app.storage.load import load_confirmation

CANDIDATE_COLUMNS = ("trial", "search", "rounds", "mean", "epochs", "parameters", "seconds", "outcome")


def confirmation(experiment: Experiment) -> Section | None:
    """The findings, every run of the race and of the measurement, and the outcome of each config."""
    found = load_confirmation(experiment)
    if found is None:
        return None
    lines = [line.strip() for line in answer(found)]
    rows = run_rows(found)
    caption = "A point for each run: grey in the race, blue where it measures the winner; orange its mean at 95 %."
    parts: list[Html | Table | Chart] = [*map(paragraph, lines), Table(CANDIDATE_COLUMNS, candidate_rows(found))]
    if rows:
        numbers = Table(("trial", "run", "seed", "purpose", found.of.history.metric.words), rows)
        parts.append(Chart("confirmation", figure(found), caption, numbers))
    return Section("Confirmation", parts)


def run_rows(found: Confirmation) -> list[tuple[Cell, ...]]:
    """The runs that have ended: trial, run, seed, purpose and value."""
    findings = found.findings
    trial_of = {str(candidate.config): candidate.trial for candidate in findings.candidates}
    measuring = {run.number for run in findings.measured.runs}
    return [
        (
            trial_of[str(run.config)],
            run.number,
            run.seed,
            "measurement" if run.number in measuring else "race",
            None if run.state == FAILED else value_at_end(run, found.of.history.metric),
        )
        for run in found.experiment.history.trials
        if run.ended
    ]


def figure(found: Confirmation) -> go.Figure:
    """A column for each config, a point for each run that did not fail."""
    drawn = go.Figure()
    rows = [row for row in run_rows(found) if row[-1] is not None]
    for purpose, color in (("race", GREY), ("measurement", BLUE)):
        chosen = [row for row in rows if row[3] == purpose]
        drawn.add_scatter(
            x=[f"trial {row[0]}" for row in chosen],
            y=[row[-1] for row in chosen],
            mode="markers",
            name=purpose,
            marker={"color": color, "size": 8, "opacity": 0.7},
            text=[f"run {row[1]}, seed {row[2]}" for row in chosen],
        )
    mean, interval = found.findings.measured.mean, found.findings.measured.interval
    if found.winner and mean is not None and interval:
        drawn.add_scatter(
            x=[f"trial {found.winner.trial}"],
            y=[mean],
            mode="markers",
            name="mean and its interval",
            marker={"color": ORANGE, "size": 10, "symbol": "line-ew-open"},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [interval[1] - mean],
                "arrayminus": [mean - interval[0]],
            },
        )
    return styled(drawn, 340, "", found.of.history.metric.words)
