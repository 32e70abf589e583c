"""The sections that show charts, each with the numbers that it draws. trials: those with a result, at least one."""

from html import escape
from itertools import accumulate

import optuna
import plotly.graph_objects as go

from tune_app.experiment.experiment import INTERRUPTED, Experiment
from tune_app.experiment.table import Cell
from tune_app.experiment.trial import COMPLETED, FAILED, PAUSED, PENDING, RUNNING, STOPPED, Trial
from tune_app.output.report import charts
from tune_app.output.report.charts import BLUE, GREY, ORANGE, SHADES, styled
from tune_app.output.report.elements import Chart, Section, Table, paragraph
from tune_app.output.report.study import EPOCHS, best_of, study_of, study_of_last

FEWEST_FOR_IMPORTANCE = 20
"""Trials; of fewer, importances are noise."""


def optimisation_history(experiment: Experiment, trials: list[Trial]) -> Section:
    """Each trial's best value, and the best of all up to it, as the search went on."""
    metric = experiment.history.metric
    of_best = study_of(experiment, lambda trial: [metric.value(best_of(trial))], [metric.mode])
    figure = optuna.visualization.plot_optimization_history(of_best)
    figure.data[0].update(name="best of a trial", marker={"color": BLUE, "size": 6, "opacity": 0.7})
    figure.data[1].update(name="best so far", line={"color": ORANGE, "width": 2, "shape": "hv"})
    values = [metric.value(best_of(trial)) for trial in trials]
    best_so_far = accumulate(values, min if metric.mode == "min" else max)
    rows = list(zip((trial.number for trial in trials), values, best_so_far, strict=True))
    numbers = Table(("trial", f"best {metric.words}", "best so far"), rows)
    caption = "A point for each trial with a result: the best of its results."
    figure = styled(figure, 340, "trial", metric.words)
    return Section("Optimisation history", [Chart("history", figure, caption, numbers)])


def learning_curves(experiment: Experiment, trials: list[Trial]) -> Section:
    """All results of all trials: the metric by epoch, a line for each trial; crosses where trials were stopped."""
    history, metric = experiment.history, experiment.history.metric
    best = history.best.trial if history.best else None
    figure = go.Figure()
    for state in (INTERRUPTED, PENDING, RUNNING, PAUSED, FAILED, STOPPED, COMPLETED):
        of_state = [t for t in trials if experiment.trial_state(t) == state and t.number != best]
        if of_state:
            line = {"color": charts.COLORS.get(state, ORANGE), "width": 1.2}
            figure.add_trace(charts.curves(of_state, metric, state, line))
    if best is not None:
        figure.add_trace(charts.curves([history.trials[best]], metric, "best", {"color": ORANGE, "width": 3}))
    stopped = [t for t in trials if t.state == STOPPED]
    figure.add_trace(
        go.Scatter(
            x=[t.epoch for t in stopped],
            y=[metric.value(t.results[-1]) for t in stopped],
            text=[f"trial {t.number}: {escape(t.reason or '')}" for t in stopped],
            mode="markers",
            name="stop",
            marker={"symbol": "x-thin", "size": 6, "line": {"color": charts.QUIET, "width": 1}},
            hovertemplate="%{text}<extra></extra>",
        )
    )
    rows = [(t.number, r.epoch, metric.value(r)) for t in trials for r in t.results]
    numbers = Table(("trial", "epoch", metric.words), rows)
    caption = "A line for each trial; a cross where one was stopped: touch it to read why."
    figure = styled(figure, 420, "epoch", metric.words)
    return Section("Learning curves", [Chart("curves", figure, caption, numbers)])


def params_of(study: optuna.Study) -> list[dict[str, Cell]]:
    """By trial, its value in each dimension that varies and exists for it."""
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def dimensions(study: optuna.Study) -> list[str]:
    """The dimensions that vary, in the space's order, `epochs` last."""
    found = dict.fromkeys(name for params in params_of(study) for name in params)
    return [*(name for name in found if name != EPOCHS), *([EPOCHS] if found else [])]


def importance(experiment: Experiment, trials: list[Trial]) -> Section:
    """The importance of each dimension by PED-ANOVA: how differently the best tenth of the trials is spread."""
    n, title = len(trials), "Importance of the dimensions"
    if n < FEWEST_FOR_IMPORTANCE:
        text = f"Left out: {n} trials with a result say too little; it takes {FEWEST_FOR_IMPORTANCE}."
        return Section(title, [paragraph(text)])
    figure = optuna.visualization.plot_param_importances(study_of_last(experiment))
    bar = figure.data[0]
    figure.update_traces(marker_color=BLUE)
    figure = styled(figure, 80 + 34 * len(bar.y), "importance, of 1 in all", "")
    figure.update_layout(margin_t=8)
    figure.update_xaxes(range=[0, 1.12 * max(bar.x)])
    numbers = Table(("dimension", "importance"), list(zip(bar.y[::-1], map(float, bar.x[::-1]), strict=True)))
    caption = (
        f"On {n} trials, by their last results (PED-ANOVA: how differently the best tenth is spread)."
        " epochs: how far a trial was trained."
    )
    return Section(title, [Chart("importance", figure, caption, numbers)])


def slices(experiment: Experiment, trials: list[Trial]) -> Section:
    """The last value of each trial by its value in one dimension at a time; the darker, the later the trial."""
    metric, study = experiment.history.metric, study_of_last(experiment)
    params, shown = params_of(study), []
    for dimension in dimensions(study):
        having = [t for t in trials if dimension in params[t.number]]
        rows = [(t.number, params[t.number][dimension], metric.value(t.results[-1])) for t in having]
        figure = optuna.visualization.plot_slice(study, params=[dimension])
        figure.update_traces(marker={"colorscale": SHADES, "showscale": False, "size": 7, "line": {"width": 0}})
        figure = styled(figure, 280, dimension, metric.words)
        figure.update_layout(width=None, margin_t=8)
        caption = f"{len(rows)} trials by their last results; the darker, the later."
        shown.append(Chart(f"slice-{dimension}", figure, caption, Table(("trial", dimension, metric.words), rows)))
    return Section("Slices", shown)


def best_against_time(experiment: Experiment, trials: list[Trial]) -> Section:
    """The best value of each trial against the seconds of training that led to it, and the Pareto front."""
    metric = experiment.history.metric
    points: dict[int, tuple[float, float]] = {}
    for trial in trials:
        seconds = sum(result.train_seconds for result in trial.results if result.k <= best_of(trial).k)
        points[trial.number] = metric.value(best_of(trial)), seconds
    of_both = study_of(experiment, lambda trial: [*points[trial.number]], [metric.mode, "min"])
    figure = optuna.visualization.plot_pareto_front(of_both, targets=lambda trial: trial.values[::-1])
    styles = (("others", GREY, 7), ("Pareto front", ORANGE, 9))
    for trace, (name, color, size) in zip(figure.data, styles, strict=True):
        trace.update(
            name=name,
            text=[f"trial {number}" for number in trace.marker.color],  # Optuna's texts are long
            hovertemplate="%{text}: %{y:.4f} after %{x:.2f} s<extra></extra>",
            showlegend=True,
            marker={"color": color, "size": size, "showscale": False, "line": {"width": 0}},
        )
    figure = styled(figure, 360, "seconds of training up to the best result", metric.words)
    front = set(zip(figure.data[1].y, figure.data[1].x, strict=True))
    rows = []
    for number, (value, seconds) in points.items():
        rows.append((number, seconds, value, "front" if (value, seconds) in front else ""))
    numbers = Table(("trial", "seconds of training", metric.words, "Pareto"), rows)
    caption = "Nothing was both better and quicker than a trial of the front."
    return Section(f"{metric.words.capitalize()} against time", [Chart("cost", figure, caption, numbers)])
