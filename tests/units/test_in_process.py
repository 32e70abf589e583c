"""A search without Ray, one trial after the other."""

import json
import time
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace

from tests.made_up import diverged, result_of, resumed, searching, state_of
from tune_app import engine
from tune_app.engine.in_process import run_in_process
from tune_app.engine.search import Attempt
from tune_app.experiment.record import read_entries
from tune_app.experiment.spec import Paths
from tune_app.storage.load import load_experiment
from tune_app.task.result import Result


def by_number(attempt: Attempt) -> Iterator[tuple[Result, bytes]]:
    """The later, the worse; trial 2 raises, trial 3 diverges."""
    number = attempt.trial.number
    if number == 2:
        raise ValueError("broken")
    for k in range(attempt.after + 1, int(attempt.epochs) + 1):
        result = diverged(k) if number == 3 else result_of(k, 0.9 - number / 100)
        yield result, state_of(result)


def test_every_trial_ends_as_it_would_in_a_worker(tmp_path: Path) -> None:
    space = {"level": "linear", "lr": {"loguniform": [0.1, 1]}}
    with searching(tmp_path, "x", space, "completed", num_samples=6, max_epochs=3) as search:
        assert run_in_process(search, by_number) is None
    experiment = load_experiment("x", tmp_path)
    assert experiment.state == "finished"
    states = [trial.state for trial in experiment.history.trials]
    assert states == ["completed", "stopped", "failed", "failed", "stopped", "stopped"]
    assert experiment.trial(2).reason == "error: ValueError: broken"
    assert str(experiment.trial(3).reason).startswith("diverged")
    assert experiment.history.best and experiment.history.best.trial == 0


def test_a_reason_ends_it_and_a_resumption_goes_on_from_the_last_result(tmp_path: Path) -> None:
    with searching(tmp_path, "x", end="interrupted", num_samples=2, max_epochs=3, early_stopping=False) as search:
        assert run_in_process(search, by_number, lambda: "stop" if search.history.results >= 2 else None) == "stop"
    again = resumed(search.paths)
    seen: list[int] = []

    def train(attempt: Attempt) -> Iterator[tuple[Result, bytes]]:
        seen.append(attempt.after)
        yield from by_number(attempt)

    assert run_in_process(again, train) is None
    again.end("completed")
    again.close()
    assert seen == [2, 0]
    history = load_experiment("x", tmp_path).history
    assert [[result.k for result in trial.results] for trial in history.trials] == [[1, 2, 3]] * 2


def test_a_clock_that_jumps_back_an_hour_changes_nothing(run, at: Paths, monkeypatch) -> None:
    asked = count()
    clock = SimpleNamespace(time=lambda: time.time() - 3600 * (next(asked) > 10))
    monkeypatch.setattr(engine.search, "time", clock)
    with searching(at.root.parent, "x", end="completed", num_samples=2, early_stopping=False) as search:
        assert run_in_process(search, by_number) is None
    times = [entry["time"] for entry in read_entries(at.record)]
    assert sum(after < before - 3500 for before, after in pairwise(times)) == 1
    there = ("--experiments-dir", at.root.parent)
    status = json.loads(run("status", "x", "--json", *there).stdout)
    assert status["state"] == "finished"
    assert 0 <= status["seconds"] < 60
    assert run("status", "x", *there).stdout.startswith("x: finished\n2 trials: ")
    (listed,) = json.loads(run("list", "--json", *there).stdout)
    assert (listed["state"], listed["trials"]) == ("finished", 2)
