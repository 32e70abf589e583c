"""The style of the charts, and the figures and lines that plotly draws without Optuna."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation
from tune_app.experiment.table import Cell
from tune_app.experiment.trial import COMPLETED, FAILED, PAUSED, STOPPED, Trial
from tune_app.task.result import Result
from tune_app.task.task import Metric

INK, QUIET, LINES, PAPER = "#26323c", "#6b7884", "#e3e8ec", "#ffffff"
BLUE, GREY, RED, ORANGE = "#2f6f9f", "#b4bec7", "#c0392b", "#d9822b"
SHADES = [[0, "#d5e3ee"], [1, "#1f4e73"]]
COLORS = {STOPPED: GREY, PAUSED: GREY, COMPLETED: BLUE, FAILED: RED}
FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
AXIS = {
    "gridcolor": LINES,
    "linecolor": LINES,
    "zeroline": False,
    "automargin": True,
    "title": {"font": {"size": 13, "color": QUIET}, "standoff": 10},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "xaxis": AXIS,
        "yaxis": AXIS,
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": LINES, "font": {"family": FONT, "color": INK}},
        "legend": {"orientation": "h", "traceorder": "normal", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "colorway": [BLUE, ORANGE, GREY, RED],
    }
)
GAP = [None]
"""Ends a line within a trace: one trace for each of a thousand trials would take a browser seconds."""


def styled(figure: go.Figure, height: int, x: str, y: str) -> go.Figure:
    """The figure in the page's style; `height` in pixels."""
    figure.update_layout(
        template=TEMPLATE,
        title=None,
        height=height,
        margin={"l": 8, "r": 12, "t": 34, "b": 8},
        xaxis_title=x,
        yaxis_title=y,
    )
    return figure


def curves(trials: Sequence[Trial], metric: Metric, name: str, line: dict[str, object]) -> go.Scatter:
    """The learning curves of some trials as one trace."""

    def joined(of: Callable[[Trial, Result], float]) -> list[float | None]:
        return [value for t in trials for value in [*(of(t, r) for r in t.results), *GAP]][:-1]

    return go.Scatter(
        x=joined(lambda _, result: result.epoch),
        y=joined(lambda _, result: metric.value(result)),
        customdata=joined(lambda trial, _: trial.number),
        mode="lines",
        name=name,
        line=line,
        hovertemplate="trial %{customdata}, epoch %{x}: %{y:.4f}<extra></extra>",
    )


def rungs(experiment: Experiment, at_rungs: dict[float, list[Result]]) -> go.Figure:
    """The results that reached each rung, in their order, and the cutoff that each met.

    at_rungs: the results by rung in epochs, in the record's order.
    """
    trials, metric = experiment.history.trials, experiment.history.metric
    placed = [
        [(at + 0.8 * ((i + 0.5) / len(results) - 0.5), result) for i, result in enumerate(results)]
        for at, results in enumerate(at_rungs.values())
    ]
    everyone = [pair for at_rung in placed for pair in at_rung]
    passed = [pair for pair in everyone if trials[pair[1].trial].outcome(pair[1]) == "passed"]
    others = [pair for pair in everyone if pair not in passed]

    figure = go.Figure(
        [
            go.Scatter(
                x=[x for at_rung in placed for x in [*(x for x, _ in at_rung), *GAP]],
                y=[y for at_rung in placed for y in [*(result.cutoff for _, result in at_rung), *GAP]],
                mode="lines",
                name="cutoff",
                line={"color": ORANGE, "width": 1.5},
                hovertemplate="cutoff %{y:.4f}<extra></extra>",
            ),
            points(others, metric, "not passed", {"color": PAPER, "line": {"color": QUIET, "width": 1.2}}),
            points(passed, metric, "passed", {"color": BLUE}),
        ]
    )
    figure.update_xaxes(
        tickvals=list(range(len(at_rungs))),
        ticktext=[f"{rung:g}" for rung in at_rungs],
        range=[-0.5, len(at_rungs) - 0.5],
        showgrid=False,
    )
    return styled(figure, 320, "rung, in epochs", metric.words)


def points(of: Sequence[tuple[float, Result]], metric: Metric, name: str, marker: dict[str, object]) -> go.Scatter:
    """A point for each result, at its place from left to right."""
    return go.Scatter(
        x=[x for x, _ in of],
        y=[metric.value(result) for _, result in of],
        customdata=[result.trial for _, result in of],
        mode="markers",
        name=name,
        marker={"size": 7, **marker},
        hovertemplate="trial %{customdata}: %{y:.4f}<extra></extra>",
    )


def confirmation(found: Confirmation, runs: Sequence[Sequence[Cell]]) -> go.Figure:
    """A column for each config, a point for each run that did not fail.

    runs: trial, run, seed, purpose and value of each.
    """
    drawn = go.Figure()
    rows = [row for row in runs if row[-1] is not None]
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
