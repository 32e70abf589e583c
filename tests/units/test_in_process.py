"""A search without Ray, one trial after the other."""

import json
import time
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.made_up import diverged, result_of, resumed, searching, state_of
from tests.trainings import LEVELS, training
from tune_app import engine
from tune_app.engine.in_process import run_in_process
from tune_app.engine.search import Attempt
from tune_app.experiment.record import read_entries
from tune_app.experiment.spec import Paths
from tune_app.machine import cpu_model
from tune_app.storage.load import load_experiment
from tune_app.task.images.mnist import Mnist
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


LEVELS_SPACE = {
    "level": {"choice": list(LEVELS)},
    "lr": {"loguniform": [0.05, 0.5]},
    "bs": {"choice": [32, 50]},
    "momentum": {"uniform": [0, 0.9], "when": {"level": list(LEVELS[4:])}},
}


def test_the_thirteen_levels_find_what_they_found_before(tmp_path: Path, small: Mnist, one_thread: None) -> None:
    """The file holds one trial of each level of a search by version 0.2.0, before `Result` was a type.

    Those were found on an AMD EPYC whose model nobody noted. What version 0.7.0, which found the same there, finds
    on other processors is beside them; on any other still the values are near.
    """
    before = json.loads(Path(__file__).with_name("thirteen_levels.json").read_text())
    settings: dict[str, Any] = {"num_samples": 29, "max_epochs": 2, "results_per_epoch": 2, "seed": 5}

    def train(attempt: Attempt) -> Iterator[tuple[Result, bytes | None]]:
        trial = attempt.trial
        if str(trial.number) in before["trials"]:
            yield from training(trial.config, small, trial.seed, 2).results(attempt.epochs)
        else:
            yield result_of(4, 0.5, 2), b""

    with searching(tmp_path, "x", LEVELS_SPACE, early_stopping=False, **settings) as search:
        run_in_process(search, train)
    cpu = cpu_model() if torch.__version__.split("+")[0] == before["torch"] else ""
    assert {before["trials"][number]["config"]["level"] for number in before["trials"]} == set(LEVELS)
    for number, then in before["trials"].items():
        trial = search.history.trials[int(number)]
        assert (trial.config, trial.seed) == (then["config"], then["seed"])
        found = [[*result.valid.values(), result.train_loss] for result in trial.results]
        near = pytest.approx(np.array(then["results"]["AMD EPYC"]), abs=0.02)
        assert found == near and found == then["results"].get(cpu, near), number


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
