"""The style of the charts, and the figures and lines that plotly draws without Optuna."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

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
