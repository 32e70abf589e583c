"""The findings of a search as data for programs, read from its record alone."""

from pathlib import Path
from typing import Any

from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation, confirming
from tune_app.experiment.history import History
from tune_app.experiment.trial import Trial
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import experiment_names, load_confirmation, load_experiment
from tune_app.task.result import Result
from tune_app.task.task import Task

FEWEST_TO_JUDGE_BY = 3
"""The trials that must have ended before the time left is estimated."""


def summary(experiment: Experiment) -> dict[str, Any]:
    """The whole search: name, state, best and trials."""
    history = experiment.history
    best = history.best
    return {
        "name": experiment.name,
        "task": task_summary(history.spec.task),
        "state": experiment.state,
        "reason": history.end["reason"] if history.end and not experiment.held else None,
        "seconds": seconds_searched(history),
        "seconds_left": seconds_left(history, history.spec.num_trials) if experiment.held else None,
        "metric": history.metric.name,
        "best": None if best is None else best_result(experiment, best),
        "baseline": None if (own := baseline(experiment)) is None else best_result(experiment, own),
        "confirmation": confirmation_summary(found) if (found := load_confirmation(experiment)) else None,
        "trials": [
            {
                "number": trial.number,
                "state": experiment.trial_state(trial),
                "reason": trial.reason,
                "epoch": trial.epoch,
                history.metric.name: history.metric.value(trial.results[-1]) if trial.results else None,
                "config": trial.config,
            }
            for trial in history.trials
        ],
    }


def task_summary(task: Task) -> dict[str, Any]:
    """The name of a task, and the digest that tells it from others of that name."""
    return {"name": task.name, "digest": task.digest}


def confirmation_summary(confirmation: Confirmation) -> dict[str, Any]:
    """All findings, by the search's metric; `seconds` is the time to train one run."""
    findings = confirmation.findings
    measured, winner = findings.measured, confirmation.winner
    metric = confirmation.of.history.metric
    return {
        "name": confirmation.of.name,
        "confirmation": confirming(findings.history.spec).number,
        "state": confirmation.experiment.state,
        "winner": None
        if winner is None
        else {
            **winner.model_dump(),
            metric.name: measured.mean,
            "interval": measured.interval,
            "seeds": len(measured.runs),
            "failed": measured.failed,
            "values": measured.values,
        },
        "test": test_summary(confirmation),
        "optimism": confirmation.optimism,
        "candidates": [
            {
                **candidate.model_dump(),
                "outcome": "winner" if i == findings.winner else standing.state,
                "rounds": len(standing.errors),
                "p": standing.p,
                "mean": findings.mean(i),
                "seconds": findings.run_seconds(i),
            }
            for i, (candidate, standing) in enumerate(zip(findings.candidates, findings.standings, strict=True))
        ],
    }


def test_summary(confirmation: Confirmation) -> dict[str, Any] | None:
    """The winner's values on the test data, None where those were not read."""
    if confirmation.tested is None:
        return None
    values = confirmation.test_values
    return {
        **{of.name.removeprefix("valid_"): value for of, (value, _) in values.items()},
        "interval": next((interval for _, interval in values.values()), None),
        "items": confirmation.tested_items,
        "seed": confirmation.findings.history.trials[confirmation.tested["trial"]].seed,
        "times_read": confirmation.tests_read,
    }


def best_result(experiment: Experiment, best: Result) -> dict[str, Any]:
    """The best result with its config."""
    return {
        "trial": best.trial,
        "epoch": best.epoch,
        **best.valid,
        "config": experiment.trial(best.trial).config,
    }


def baseline(experiment: Experiment) -> Result | None:
    """The best result of the task's baseline, if it was trial 0."""
    first, task = next(iter(experiment.history.trials), None), experiment.history.spec.task
    return first.best if first and first.config == task.baseline_config else None


def seconds_searched(history: History) -> float:
    """The seconds of searching, without those between an interruption and its resumption."""
    return sum(max(0.0, end - begin) for begin, end in history.spans)


def seconds_left(history: History, num_trials: int) -> float | None:
    """The estimated seconds until all trials have ended or paused, by those that have; None before three have."""
    done = len(history.trials) - len(history.at_work)
    if done < FEWEST_TO_JUDGE_BY:
        return None
    return seconds_searched(history) / done * max(0, num_trials - done)


def trial_detail(experiment: Experiment, trial: Trial) -> dict[str, Any]:
    """One trial: config, attempts, results and decisions, and the traceback of a failed one."""
    return {
        "number": trial.number,
        "state": experiment.trial_state(trial),
        "reason": trial.reason,
        "config": trial.config,
        "seed": trial.seed,
        "attempts": [
            {key: attempt[key] for key in ("attempt", "node", "pid", "cpu", "threads")}
            for attempt in trial.attempts
        ],
        "results": [result_summary(result) for result in trial.results],
        "promotions": [{key: entry[key] for key in ("k", "rung", "cutoff", "of")} for entry in trial.promotions],
        "traceback": trial.traceback,
    }


def result_summary(result: Result) -> dict[str, Any]:
    """The fields of a result, each metric by its name."""
    left_out = ("n", "trial", "valid")
    return {**{name: value for name, value in vars(result).items() if name not in left_out}, **result.valid}


def listing(experiments_dir: Path | Bucket) -> list[dict[str, Any]]:
    """The experiments, the newest first, with their size in bytes; a damaged one says so."""
    rows = []
    for name in experiment_names(experiments_dir):
        row: dict[str, Any] = {"name": name, "bytes": size(experiments_dir / name)}
        row |= dict.fromkeys(("task", "state", "created", "trials", "metric", "best"))
        try:
            experiment = load_experiment(name, experiments_dir)
            best = experiment.history.best
            row |= {
                "task": task_summary(experiment.history.spec.task),
                "state": experiment.state,
                "created": experiment.history.created,
                "trials": len(experiment.history.trials),
                "metric": experiment.history.metric.name,
                "best": experiment.history.metric.value(best) if best else None,
            }
        except TuneAppError as error:
            row |= {"state": "damaged", "error": str(error)}
        rows.append(row)
    return rows


def size(folder: Path | Bucket) -> int:
    """Bytes of the files in a folder, or of the objects in a bucket's."""
    if isinstance(folder, Bucket):
        return sum(stored.bytes for stored in folder.objects(recursive=True).values())
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
