"""tune-app search and what can be done with its outcome, as a person does it."""

import json
import os
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import run
from tests.end_to_end.conftest import OF_TESTS, alive, descendants, left_in, succeed, temporary, tune_app, wait_for
from tests.end_to_end.invariants import check
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
LONG = "space: {level: cnn, bs: 2, lr: 0.01}\nsearch: {num_samples: 3, max_epochs: 50, results_per_epoch: 20}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Iterator[Path]:
    """A folder in which a search of a small slice of MNIST has run."""
    folder = tmp_path_factory.mktemp("s")
    (folder / "space.yaml").write_text(SPACE)
    done = succeed(folder, "search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard")
    (folder / "out.txt").write_text(done.stdout)
    (folder / "err.txt").write_text(done.stderr)
    yield folder


def test_the_end_says_what_is_best_and_what_to_do_next_and_the_record_holds_it_all(folder: Path) -> None:
    history = load_experiment("x", folder / "experiments").history
    best = history.best
    assert best is not None
    out = (folder / "out.txt").read_text()
    assert f"Best: valid accuracy {best.valid['valid_accuracy']:.4f} at epoch {best.epoch:g} of trial" in out
    assert "9 trials:" in out
    assert "the baseline" in out
    assert "tune-app export x" in out
    told = [line for line in (folder / "err.txt").read_text().splitlines() if line.startswith("trial ")]
    assert sorted({int(line.split()[1].rstrip(":")) for line in told}) == list(range(9))

    assert history.trials[0].config == tutorial().baseline_config
    assert all((trial.epoch == 3) == (trial.state == "completed") for trial in history.trials)
    workers = {attempt["pid"] for trial in history.trials for attempt in trial.attempts}
    assert len(workers) == min(len(os.sched_getaffinity(0)), 9), "a worker trains one trial after the other"
    check(folder, "x")
    assert left_in(temporary(folder)) == []
    assert {p.name for p in (folder / "experiments" / "x").iterdir()} == {"record.jsonl", "states"}
    assert not (folder / "ray_results").exists()


@pytest.mark.usefixtures("one_thread")
def test_without_ray_the_same_configs_give_the_same_floats_and_states(folder, small_data, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    beside = ("--experiments-dir", "alone", "--in-process")
    done = run("search", "space.yaml", "--name", "x", "--data", small_data, *beside)
    assert done.exit_code == 0, done.stderr
    on_ray, alone = (load_experiment("x", folder / place).history.trials for place in ("experiments", "alone"))
    for trial, other in zip(on_ray, alone, strict=True):
        assert (trial.config, trial.seed) == (other.config, other.seed)
        pairs = list(zip(trial.results, other.results, strict=False))  # decisions depend on who comes first
        assert pairs and all((a.valid, a.train_loss, a.state) == (b.valid, b.train_loss, b.state) for a, b in pairs)


def test_a_worker_that_comes_late_is_waited_for_while_another_goes_on(tmp_path: Path) -> None:
    done = succeed(tmp_path, tmp_path, command=[*OF_TESTS, "tests.end_to_end.late_worker"])
    seen = json.loads(done.stdout.splitlines()[-1])
    # Tune itself would end it as soon as the first is free, and start another: all twelve would be the first's.
    assert seen["began"] == len(seen["trained"]) == 2


def test_status_and_list_show_every_trial_and_json_is_complete(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    shown = run("status").stdout
    assert shown.startswith("x: finished\n")
    assert len([line for line in shown.splitlines() if line.endswith(("momentum 0", "*")) or "lr" in line]) >= 9
    status = json.loads(run("status", "x", "--json").stdout)
    assert (status["name"], status["state"], len(status["trials"])) == ("x", "finished", 9)
    assert set(status["best"]) >= {"trial", "epoch", "valid_accuracy", "config"}
    for trial in status["trials"]:
        assert set(trial) >= {"number", "state", "epoch", "valid_accuracy", "config"}
    stopped = next(t for t in load_experiment("x", folder / "experiments").history.trials if t.state == "stopped")
    shown = run("status", "x", "--trial", stopped.number).stdout
    assert str(stopped.reason) in shown and "pause: " in shown
    (row,) = json.loads(run("list", "--json").stdout)
    files = [f for f in (folder / "experiments" / "x").rglob("*") if f.is_file()]
    assert (row["name"], row["bytes"]) == ("x", sum(f.stat().st_size for f in files))


def test_the_exported_config_trains_again_to_the_same_floats(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run("export", "x", "-o", "best").exit_code == 0
    experiment = load_experiment("x", folder / "experiments")
    best = experiment.history.best
    assert best is not None
    expected = [r.valid["valid_accuracy"] for r in experiment.trial(best.trial).results if r.k <= best.k]
    trained = json.loads(run("train", "best/config.yaml", "--json").stdout)
    assert (trained["valid_accuracies"], trained["same"]) == (expected, True)
    assert error_of(run("export", "x", "-o", "best")) == "best: exists already, allowed: another folder with -o"


def test_the_experiment_moves_and_is_removed_as_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    shutil.copytree(folder / "experiments", folder / "elsewhere")
    moved = run("status", "x", "--experiments-dir", "elsewhere")
    assert moved.stdout == run("status", "x").stdout
    assert run("remove", "x", "--experiments-dir", "elsewhere").exit_code == 0
    assert list((folder / "elsewhere").iterdir()) == []


@pytest.mark.usefixtures("one_thread")
def test_failed_trials_show_in_the_exit_code(tmp_path, monkeypatch, small_data) -> None:
    monkeypatch.chdir(tmp_path)
    space = "space: {level: scratch, lr: {grid: [900, 1000, 0.1]}}\nsearch: {max_epochs: 2, results_per_epoch: 2}"
    Path("space.yaml").write_text(space)
    done = run("search", "space.yaml", "--name", "x", "--data", small_data, "--in-process")
    assert done.exit_code == 3, done.stderr
    assert "1 completed, 0 stopped early, 2 failed" in done.stdout
    failed = json.loads(run("status", "--trial", 1, "--json").stdout)
    assert failed["state"] == "failed"
    assert re.fullmatch("diverged: (train|valid)_loss was not finite at epoch 0.5", failed["reason"])


def test_a_signal_ends_the_search_within_seconds_and_status_shows_it(tmp_path, start, small_data) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    running = start("search", "space.yaml", "--name", "x", "--data", small_data)
    line = running.wait_for_line("Ray dashboard: ")
    assert re.match(r"Ray dashboard: http://127\.0\.0\.1:\d+$", line)
    with urllib.request.urlopen(line.split()[-1], timeout=10) as page:
        assert "Ray Dashboard" in page.read().decode()
    running.wait_for_results("x", 2)
    meanwhile = json.loads(tune_app(tmp_path, "status", "--json").stdout)
    assert (meanwhile["state"], meanwhile["trials"][0]["state"]) == ("running", "running")
    refused = tune_app(tmp_path, "remove", "x")
    assert refused.stderr == "Error: experiments/x: is being searched right now; end that first\n"
    processes = descendants(running.process.pid)
    assert len(processes) > 3
    running.process.send_signal(signal.SIGTERM)  # SIGINT: test_resume.py and, from a terminal, test_terminal.py
    out, _ = running.end(seconds=15, code=130)
    assert "The search was interrupted." in out
    wait_for(lambda: not any(map(alive, processes)), "no process is left", 10)
    assert left_in(temporary(tmp_path)) == []
    status = json.loads(tune_app(tmp_path, "status", "--json").stdout)
    assert (status["state"], status["trials"][0]["state"]) == ("interrupted", "interrupted")


@pytest.mark.usefixtures("one_thread")
def test_a_time_budget_ends_the_search_with_exit_code_0(tmp_path, monkeypatch, small_data) -> None:
    monkeypatch.chdir(tmp_path)
    space = "space: {level: linear, bs: 256, lr: 0.1}\nsearch: {num_samples: 100000, max_epochs: 1}"
    Path("space.yaml").write_text(space)
    arguments = ("--name", "x", "--data", small_data, "--in-process", "--time-budget", "1s", "--quiet")
    done = run("search", "space.yaml", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("The time budget is used up.")


def test_more_than_there_is_is_refused_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    done = tune_app(tmp_path, "search", "quick", "--gpus-per-trial", 999, timeout=30)
    assert done.returncode == 1
    *before, line = done.stderr.splitlines()
    assert line.startswith("Error: --gpus-per-trial is 999, allowed: up to the ")
    assert all(one.startswith("Ray dashboard: ") for one in before), "which may come up before the answer"
    assert not (tmp_path / "experiments").exists()
