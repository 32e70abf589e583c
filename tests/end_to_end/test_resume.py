"""Whatever dies, the same search goes on, and its outcome is what it would have been."""

import os
import random
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.bundles import run
from tests.end_to_end.conftest import Start, alive, descendants, tune_app, wait_for
from tests.end_to_end.invariants import check, outcome
from tests.made_up import ask_and_start, give, searching
from tests.refused import error_of
from tune_app.experiment.trial import Trial
from tune_app.storage.load import load_experiment

SPACE = """
space:
  level: {choice: [scratch, fit, cnn]}
  lr: {loguniform: [0.01, 1]}
  bs: {choice: [32, 64]}
  momentum: {choice: [0, 0.9], when: {level: [fit, cnn]}}
search: {num_samples: 12, max_epochs: 4, results_per_epoch: 4, grace_period: 1, max_concurrent_trials: 1}
"""
LONG = "space: {level: cnn, bs: 2, lr: 0.01}\nsearch: {num_samples: 3, max_epochs: 2, results_per_epoch: 6}"


def none_lives(processes: set[int]) -> bool:
    """Whether all of these have ended."""
    return not any(map(alive, processes))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("sampler", [pytest.param("random", marks=pytest.mark.soak), "tpe"])
def test_a_driver_killed_again_and_again_finds_what_an_uninterrupted_one_finds(
    tmp_path: Path, monkeypatch, start: Start, small_data: Path, sampler: str, pytestconfig: pytest.Config
) -> None:
    monkeypatch.chdir(tmp_path)
    kills = pytestconfig.getoption("kills")
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown when the test fails
    rng = random.Random(seed)
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = ("search", "space.yaml", "--data", small_data, "--sampler", sampler)
    done = run(*arguments, "--name", "whole", "--in-process")
    assert done.exit_code == 0, done.stderr
    record = tmp_path / "experiments" / "killed" / "record.jsonl"
    running = start(*arguments, "--name", "killed", "--no-dashboard")
    for _ in range(kills):
        before = record.read_text().count('"kind":"result"') if record.exists() else 0
        running.wait_for_results("killed", before + rng.randint(1, max(1, 32 // kills)))
        processes = {running.process.pid} | descendants(running.process.pid)
        running.process.kill()
        acknowledged = record.read_bytes()
        wait_for(partial(none_lives, processes), "no process is left", 30)
        running = start("resume", "killed", "--no-dashboard")
    running.end(120)
    whole_lines = acknowledged[: acknowledged.rfind(b"\n") + 1]
    assert record.read_bytes().startswith(whole_lines)
    check(tmp_path, "killed")
    assert outcome(tmp_path, "killed") == outcome(tmp_path, "whole")


def test_a_trial_that_loses_its_worker_goes_on_from_its_last_result_and_one_that_does_too_often_fails(
    tmp_path: Path, start: Start, small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(LONG.replace("bs: 2", "bs: 4").replace("epoch: 6", "epoch: 12"))
    arguments = ("--name", "x", "--data", small_data, "--no-dashboard", "--max-failures", 1, "--no-early-stopping")
    running = start("search", "space.yaml", *arguments, "--sampler", "random")

    def kill(number: int, attempt: int) -> None:
        """Kill the worker of a trial once this attempt at it has a result."""

        def trial() -> Trial | None:
            trials = load_experiment("x", tmp_path / "experiments").history.trials
            there = [t for t in trials if t.number == number and t.results]
            return there[0] if there and there[0].results[-1].attempt == attempt else None

        running.wait_for_results("x", 1)
        wait_for(trial, f"attempt {attempt} at trial {number} has a result")
        found = trial()
        assert found is not None
        os.kill(found.attempts[-1]["pid"], signal.SIGKILL)

    kill(0, 0)
    kill(1, 0)
    kill(1, 1)
    out, _ = running.end(120, code=3)
    assert "2 completed, 0 stopped early, 1 failed" in out
    once, failed, _ = load_experiment("x", tmp_path / "experiments").history.trials
    assert [attempt["attempt"] for attempt in once.attempts] == [0, 1]
    assert {r.attempt for r in once.results} == {0, 1}
    assert (failed.state, failed.reason) == ("failed", "lost 2 times, the last time: its worker died")
    assert "died" in tune_app(tmp_path, "status", "--trial", 1).stdout
    check(tmp_path, "x")


@pytest.mark.parametrize("command", ["resume", "confirm"])
def test_other_data_are_refused_with_the_difference(tmp_path, small_data, monkeypatch, command) -> None:
    with searching(tmp_path / "experiments", "data") as search:
        give(search, ask_and_start(search), 0.5)
    monkeypatch.chdir(tmp_path)
    assert error_of(run(command, "data", "--data", "none.parquet")).startswith("none.parquet: No such file")
    refused = error_of(run(command, "data", "--data", small_data))
    assert refused.startswith("data: the data are not those it began with: digest ")
