"""tune-app search and what can be done with its outcome, as a person does it."""

import json
import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.bundles import run
from tests.end_to_end.conftest import MADE_UP, Start, alive, descendants, left_in, succeed, temporary, wait_for
from tests.end_to_end.invariants import check, told
from tests.refused import error_of
from tune_app.storage.load import load_experiment
from tune_app.task.tutorial import tutorial

pytestmark = pytest.mark.alone

SPACE = """
space:
  level: {choice: [scratch, linear, fit, cnn]}
  lr: {loguniform: [0.01, 1]}
  bs: {choice: [32, 64]}
  momentum: {choice: [0, 0.9], when: {level: [fit, cnn]}}
search: {num_samples: 9, max_epochs: 3, results_per_epoch: 2, grace_period: 1, seed: 3}
"""
LONG = "space: {level: cnn, bs: 2, lr: 0.01}\nsearch: {num_samples: 2, max_epochs: 1, results_per_epoch: 6}"


def test_the_end_says_what_is_best_and_what_to_do_next_and_the_record_holds_it_all(tmp_path, small_data) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    done = succeed(tmp_path, "search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard")
    history = load_experiment("x", tmp_path / "experiments").history
    best = history.best
    assert best is not None
    out = done.stdout
    assert f"Best: valid accuracy {best.valid['valid_accuracy']:.4f} at epoch {best.epoch:g} of trial" in out
    assert all(words in out for words in ("9 trials:", "the baseline", "tune-app export x"))
    lines = [line for line in done.stderr.splitlines() if line.startswith("trial ")]
    assert sorted({int(line.split()[1].rstrip(":")) for line in lines}) == list(range(9))

    assert history.trials[0].config == tutorial().baseline_config
    assert all((trial.epoch == 3) == (trial.state == "completed") for trial in history.trials)
    workers = {attempt["pid"] for trial in history.trials for attempt in trial.attempts}
    assert len(workers) == min(len(os.sched_getaffinity(0)), 9), "a worker trains one trial after the other"
    check(tmp_path, "x")
    (row,) = told(tmp_path, "list")
    files = [path for path in (tmp_path / "experiments").rglob("*") if path.is_file()]
    assert (row["name"], row["bytes"]) == ("x", sum(file.stat().st_size for file in files))
    assert left_in(temporary(tmp_path)) == []
    assert {p.name for p in (tmp_path / "experiments" / "x").iterdir()} == {"record.jsonl", "states"}
    assert not (tmp_path / "ray_results").exists()


def test_a_worker_that_comes_late_is_waited_for_while_another_goes_on(tmp_path: Path) -> None:
    succeed(tmp_path, "late", tmp_path, command=MADE_UP)
    trials = load_experiment("x", tmp_path / "experiments").history.trials
    trained = {attempt["pid"] for trial in trials for attempt in trial.attempts}
    # Tune itself would end it as soon as the first is free, and start another: all twelve would be the first's.
    assert len(list(tmp_path.glob("worker-*"))) == len(trained) == 2


@pytest.mark.usefixtures("one_thread")
def test_a_signal_ends_the_search_within_seconds_and_it_is_resumed_but_not_while_it_is_held_or_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start, small_data: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(LONG)
    arguments = ("search", "space.yaml", "--name", "x", "--data", small_data)
    running = start(*arguments)
    line = running.wait_for_line("Ray dashboard: ")
    assert re.match(r"Ray dashboard: http://127\.0\.0\.1:\d+$", line)
    with urllib.request.urlopen(line.split()[-1], timeout=10) as page:
        assert "Ray Dashboard" in page.read().decode()
    running.wait_for_results("x", 2)
    meanwhile = json.loads(run("status", "--json").stdout)
    assert (meanwhile["state"], meanwhile["trials"][0]["state"]) == ("running", "running")
    assert error_of(run("remove", "x")) == "experiments/x: is being searched right now; end that first"
    held = error_of(run("resume", "x"))
    assert held.startswith(f"x: is being searched by process {running.process.pid} on ")
    processes = descendants(running.process.pid)
    assert len(processes) > 3
    running.process.send_signal(signal.SIGTERM)  # SIGINT, from a terminal: test_terminal.py
    out, _ = running.end(seconds=15, code=130)
    assert "The search was interrupted." in out and "Go on: tune-app resume x" in out
    wait_for(lambda: not any(map(alive, processes)), "no process is left", 10)
    assert left_in(temporary(tmp_path)) == []
    status = json.loads(run("status", "--json").stdout)
    assert (status["state"], status["trials"][0]["state"]) == ("interrupted", "interrupted")

    assert error_of(run("resume", "x", "--data", "nothing.parquet"))
    changed = run(*arguments, "--resume", "--seed", 5)
    assert error_of(changed) == "x: began with another space or settings: search.seed was 0, is 5"
    resumed = run(*arguments, "--resume", "--in-process")
    assert resumed.exit_code == 0, resumed.stderr
    check(tmp_path, "x")
    assert error_of(run("resume", "x")) == "x: is finished; tune-app extend gives it a larger budget"


@pytest.mark.usefixtures("one_thread")
def test_a_time_budget_ends_the_search_with_exit_code_0(tmp_path, monkeypatch, small_data) -> None:
    monkeypatch.chdir(tmp_path)
    space = "space: {level: linear, bs: 256, lr: 0.1}\nsearch: {num_samples: 100000, max_epochs: 1}"
    Path("space.yaml").write_text(space)
    arguments = ("--name", "x", "--data", small_data, "--in-process", "--time-budget", "1s", "--quiet")
    done = run("search", "space.yaml", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("The time budget is used up.")
