"""The sections of the report. A new one is a function, None where there is nothing to say, and its place here."""

import shlex
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation, value_at_end
from tune_app.experiment.settings import Settings
from tune_app.experiment.spec import Spec
from tune_app.experiment.table import Cell
from tune_app.experiment.trial import FAILED, Trial
from tune_app.output.confirmation import answer as in_words
from tune_app.output.confirmation import candidate_rows
from tune_app.output.report import chart_sections, charts
from tune_app.output.report.elements import (
    Chart,
    Html,
    Section,
    Table,
    definitions,
    folded,
    paragraph,
    preformatted,
    table,
)
from tune_app.output.summary import seconds_searched
from tune_app.output.view import comparison, counts, duration
from tune_app.storage.load import load_confirmation
from tune_app.task.result import Result
from tune_app.task.task import config_words
from tune_app.yaml_file import as_yaml

SHOWN_OPEN = 10
"""The number of trials that are shown without a click."""
CANDIDATE_COLUMNS = ("trial", "search", "rounds", "mean", "epochs", "parameters", "seconds", "outcome")


def sections(experiment: Experiment) -> Iterator[Section | None]:
    """All sections in their order; charts show the trials with a result, and without any there are none."""
    trials = [trial for trial in experiment.history.trials if trial.results]
    yield answer(experiment)
    yield confirmation(experiment)
    if trials:
        yield chart_sections.optimisation_history(experiment, trials)
        yield chart_sections.learning_curves(experiment, trials)
    yield rungs(experiment)
    yield all_trials(experiment)
    if trials:
        yield chart_sections.importance(experiment, trials)
        yield chart_sections.slices(experiment, trials)
        yield chart_sections.best_against_time(experiment, trials)
    yield failures(experiment)
    yield repeat(experiment)


def answer(experiment: Experiment) -> Section:
    """The best config, what it cost and what it gains."""
    history = experiment.history
    best = history.best
    when = f"{datetime.fromtimestamp(history.created):%Y-%m-%d %H:%M}"
    search = f"{counts(experiment)}; {duration(seconds_searched(history))}, begun {when}."
    if experiment.held:
        search += " It is still running: this is how far it is."
    if best is None:
        return Section("Answer", [paragraph("There is no result yet.", "lead"), paragraph(search)])
    metric, claimed = history.metric, claim(experiment, best)
    config, number = experiment.trial(best.trial).config, metric.value(best)
    what = f"{metric.words}, of one run"
    confirmed = load_confirmation(experiment)
    if confirmed and confirmed.winner and (mean := confirmed.findings.measured.mean) is not None:
        measured = confirmed.findings.measured
        sure = f", {measured.interval[0]:.4f} to {measured.interval[1]:.4f} at 95 %" if measured.interval else ""
        claimed = f"The search's best result was {number:.4f}. {claimed}"
        config, number = confirmed.winner.config, mean
        what = f"{metric.words}{sure}, over {len(measured.succeeded)} fresh seeds"
    values = [(name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in config.items()]
    parts = [
        Html(f'<p class="lead"><strong>{number:.4f}</strong> {what}</p>'),
        definitions(values),
        paragraph(claimed),
    ]
    if compared := comparison(experiment):
        parts.append(paragraph(compared))
    return Section("Answer", [*parts, paragraph(search)])


def claim(experiment: Experiment, best: Result) -> str:
    """The best result: its trial, epoch and other metrics, and the time that led to it."""
    history, trial = experiment.history, experiment.trial(best.trial)
    before = [result for result in trial.results if result.k <= best.k]
    took = sum(result.train_seconds + result.valid_seconds for result in before)
    beside = "".join(
        f" {other.words} {other.value(best):.4f},"
        for other in history.spec.task.metrics.values()
        if other is not history.metric and other.name in best.valid
    )
    return (
        f"Trial {trial.number} at epoch {best.epoch:g},{beside} {best.parameters} parameters;"
        f" {took:.1f} s of training and validating led to it."
    )


def confirmation(experiment: Experiment) -> Section | None:
    """The findings, every run of the race and of the measurement, and the outcome of each config."""
    found = load_confirmation(experiment)
    if found is None:
        return None
    lines = [line.strip() for line in in_words(found)]
    rows = run_rows(found)
    caption = "A point for each run: grey in the race, blue where it measures the winner; orange its mean at 95 %."
    parts: list[Html | Table | Chart] = [*map(paragraph, lines), Table(CANDIDATE_COLUMNS, candidate_rows(found))]
    if rows:
        numbers = Table(("trial", "run", "seed", "purpose", found.of.history.metric.words), rows)
        parts.append(Chart("confirmation", charts.confirmation(found, rows), caption, numbers))
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


def rungs(experiment: Experiment) -> Section | None:
    """The trials that passed each rung and those that did not, by family."""
    history = experiment.history
    settings, trials = history.spec.settings, history.trials
    if not settings.early_stopping:
        return Section("Rungs", [paragraph("Early stopping was off: every trial was trained to its end.")])
    rows: list[tuple[Cell, ...]] = []
    for family, ladder in sorted(history.rungs.items()):
        for rung in sorted(ladder):
            results = sorted(ladder[rung], key=lambda result: result.n)
            passed = sum(trials[result.trial].passed(result) for result in results)
            rows.append((family, rung, len(results), passed, len(results) - passed, results[-1].cutoff))
    if not rows:
        return None
    best = f"the best 1/{settings.reduction_factor:g} of its family"
    if settings.scheduler == "promotion":
        text = f"A trial pauses at a rung, and passes when it is one of {best} there, at once or later."
    else:
        text = f"A trial passes a rung if it is no worse than {best} before it; the first always passes."
    columns = ("family", "rung", "reached", "passed", "not passed", "last cutoff")
    return Section("Rungs", [paragraph(text), Table(columns, rows)])


def all_trials(experiment: Experiment) -> Section | None:
    """Every trial, the best first, and why it ended."""
    history = experiment.history
    if not history.trials:
        return None
    ranked = history.ranked()
    without = [trial for trial in history.trials if trial.best is None]
    rows = [trial_row(experiment, trial) for trial in (*ranked, *without)]
    columns = ("trial", history.metric.words, "at epoch", "epochs", "state", "config", "why it ended")
    shown: list[Html | Table] = [Table(columns, rows[:SHOWN_OPEN])]
    if len(rows) > SHOWN_OPEN:
        shown.append(folded(f"{len(rows) - SHOWN_OPEN} more", table(Table(columns, rows[SHOWN_OPEN:]))))
    return Section("Trials", shown)


def trial_row(experiment: Experiment, trial: Trial) -> tuple[Cell, ...]:
    """One trial."""
    return (
        trial.number,
        experiment.history.metric.value(trial.best) if trial.best else None,
        trial.best.epoch if trial.best else None,
        trial.epoch,
        experiment.trial_state(trial),
        config_words(trial.config),
        trial.reason or "",
    )


def failures(experiment: Experiment) -> Section | None:
    """The causes of failures, the most frequent first."""
    causes: dict[str, list[Trial]] = defaultdict(list)
    for trial in experiment.history.trials:
        if trial.state == FAILED:
            causes[cause(trial)].append(trial)
    lost = sum(trial.losses for trial in experiment.history.trials)
    if not causes and not lost:
        return Section("Failures", [paragraph("No trial failed, and no worker was lost.")])
    parts: list[Html | Table] = [
        paragraph(f"Failed trials: {sum(map(len, causes.values()))}. Lost workers: {lost}.")
    ]
    rows = sorted(causes.items(), key=lambda item: -len(item[1]))
    if rows:
        columns = ("cause", "trials", "numbers", "the first of them")
        numbers = {name: ", ".join(str(trial.number) for trial in trials) for name, trials in rows}
        cells = [(name, len(trials), numbers[name], trials[0].reason or "") for name, trials in rows]
        parts.append(Table(columns, cells))
    for _, (first, *_rest) in rows:
        if first.traceback:
            parts.append(folded(f"Traceback of trial {first.number}", preformatted(first.traceback.strip())))
    return Section("Failures", parts)


def cause(trial: Trial) -> str:
    """Why a trial failed, in a word or an exception's name: diverged, lost, error: ValueError."""
    kind, _, rest = (trial.reason or "unknown").partition(": ")
    if kind == "error":
        return f"error: {rest.partition(':')[0]}"
    return kind.partition(" ")[0]


def repeat(experiment: Experiment) -> Section:
    """The command that runs the search once more."""
    spec = experiment.history.spec
    command, files = repetition(spec)
    parts: list[Html] = [preformatted(command)]
    for name, content in files.items():
        parts += [paragraph(f"{name}:"), preformatted(content)]
    versions = ", ".join(f"{name} {version}" for name, version in spec.versions.items())
    parts.append(
        paragraph(
            f"The same seed proposes the same configs, with {versions}. Which trials are stopped depends on whose"
            " results come first, and so do TPE's proposals: to repeat it exactly, search and repeat with"
            " --max-concurrent-trials 1."
        )
    )
    return Section("Repeat it", parts)


def repetition(spec: Spec) -> tuple[str, dict[str, str]]:
    """The command that runs the same search, and by name the files that have to be there first."""
    usual, task = Settings.model_validate({}).model_dump(), {"task": spec.task_path} if spec.task.files else {}
    changed = {key: value for key, value in spec.settings.model_dump().items() if value != usual[key]}
    space = f"{spec.name}.yaml"
    first = {f"{spec.name}-first-{i}.yaml": as_yaml({"config": config}) for i, config in enumerate(spec.enqueued)}
    command = ["tune-app", "search", space, *(word for name in first for word in ("--enqueue", name))]
    if spec.data.source is not None:
        command += ["--data", spec.data.source]
    return shlex.join(command), {space: as_yaml({**task, "space": spec.space, "search": changed}), **first}
