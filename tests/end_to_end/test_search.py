"""tune-app search and what can be done with its outcome, as a person does it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.end_to_end.conftest import (
    Running,
    alive,
    descendants,
    environment,
    left_in,
    temporary,
    tune_app,
    wait_for,
)
from tests.units.test_idx import idx_bytes
from tune_app.bundle.manifest import FILES, MANIFEST
from tune_app.experiment.record import read_entries
from tune_app.storage.load import load_experiment
from tune_app.task.levels import TUTORIAL_CONFIG
from tune_app.task.tutorial.idx import IMAGES, LABELS
from tune_app.task.tutorial.mnist import Mnist

SPACE = """
space:
  level: {choice: [scratch, linear, fit, cnn]}
  lr: {loguniform: [0.01, 1]}
  bs: {choice: [32, 64]}
  momentum: {choice: [0, 0.9], when: {level: [fit, cnn]}}
search: {num_samples: 9, max_epochs: 3, results_per_epoch: 2, grace_period: 1, seed: 3}
"""
ROOT = Path(__file__).parents[2]
LONG = "space: {level: cnn, bs: 2, lr: 0.01}\nsearch: {num_samples: 3, max_epochs: 50, results_per_epoch: 20}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Iterator[Path]:
    """A folder in which a search of a small slice of MNIST has run."""
    folder = tmp_path_factory.mktemp("s")
    (folder / "space.yaml").write_text(SPACE)
    done = tune_app(folder, "search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard")
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    (folder / "err.txt").write_text(done.stderr)
    yield folder


def test_the_end_says_what_is_best_and_what_to_do_next(folder: Path) -> None:
    best = load_experiment("x", folder / "experiments").history.best
    assert best is not None
    out = (folder / "out.txt").read_text()
    assert f"Best: valid accuracy {best.valid['valid_accuracy']:.4f} at epoch {best.epoch:g} of trial" in out
    assert "9 trials:" in out
    assert "the tutorial's own config" in out
    assert "tune-app export x" in out


def test_every_trial_is_told_of_on_stderr(folder: Path) -> None:
    told = [line for line in (folder / "err.txt").read_text().splitlines() if line.startswith("trial ")]
    assert sorted(int(line.split()[1].rstrip(":")) for line in told) == list(range(9))


def test_the_tutorials_config_is_trial_0(folder: Path) -> None:
    assert load_experiment("x", folder / "experiments").trial(0).config == TUTORIAL_CONFIG


def test_every_trial_occurs_once_and_ends_and_has_results_without_gap(folder: Path) -> None:
    history = load_experiment("x", folder / "experiments").history
    assert [trial.number for trial in history.trials] == list(range(9))
    assert all(trial.state in ("completed", "stopped") for trial in history.trials)
    for trial in history.trials:
        assert [r.k for r in trial.results] == list(range(1, len(trial.results) + 1))
        assert (trial.epoch == 3) == (trial.state == "completed")


def test_decisions_come_out_the_same_when_recomputed_from_the_record_alone(folder: Path) -> None:
    """By a few lines that import nothing from the package but the record's reader."""
    rungs: dict[tuple[str, float], list[float]] = {}
    family = {}
    for entry in read_entries(folder / "experiments" / "x" / "record.jsonl"):
        if entry["kind"] == "asked":
            family[entry["trial"]] = "cnn" if entry["config"]["level"] == "cnn" else "logistic"
        if entry["kind"] == "result":
            stop = entry["epoch"] == 3
            if entry["epoch"] == 1:
                there = rungs.setdefault((family[entry["trial"]], 1), [])
                ordered = sorted(there)
                if ordered:
                    position = (len(ordered) - 1) * 2 / 3
                    low = ordered[int(position)]
                    high = ordered[min(int(position) + 1, len(ordered) - 1)]
                    cutoff = low + (high - low) * (position - int(position))
                    assert entry["cutoff"] == pytest.approx(cutoff)
                    stop = entry["valid"]["valid_accuracy"] < cutoff - 1e-12
                assert entry["compared"] == len(there)
                there.append(entry["valid"]["valid_accuracy"])
            assert entry["decision"] == ("stop" if stop else "continue")


def test_a_worker_trains_one_trial_after_the_other(folder: Path) -> None:
    trials = load_experiment("x", folder / "experiments").history.trials
    workers = {attempt["pid"] for trial in trials for attempt in trial.attempts}
    assert len(workers) == min(len(os.sched_getaffinity(0)), 9)


def test_a_worker_that_comes_late_is_waited_for_while_another_goes_on(tmp_path: Path) -> None:
    environ = {**environment(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.late_worker", str(tmp_path)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    # Tune itself would end it as soon as the first is free, and start another: all twelve would be the first's.
    assert seen["began"] == len(seen["trained"]) == 2


def test_status_shows_every_trial_and_json_is_complete(folder: Path) -> None:
    shown = tune_app(folder, "status").stdout
    assert shown.startswith("x: finished\n")
    assert len([line for line in shown.splitlines() if line.endswith(("momentum 0", "*")) or "lr" in line]) >= 9
    status = json.loads(tune_app(folder, "status", "x", "--json").stdout)
    assert (status["name"], status["state"], len(status["trials"])) == ("x", "finished", 9)
    assert set(status["best"]) >= {"trial", "epoch", "valid_accuracy", "config"}
    for trial in status["trials"]:
        assert set(trial) >= {"number", "state", "epoch", "valid_accuracy", "config"}


def test_status_of_a_trial_shows_results_and_decisions(folder: Path) -> None:
    stopped = next(t for t in load_experiment("x", folder / "experiments").history.trials if t.state == "stopped")
    shown = tune_app(folder, "status", "x", "--trial", stopped.number).stdout
    assert str(stopped.reason) in shown
    assert "stop: cutoff" in shown
    detail = json.loads(tune_app(folder, "status", "x", "--trial", stopped.number, "--json").stdout)
    assert [r["k"] for r in detail["results"]] == [r.k for r in stopped.results]
    assert detail["config"] == stopped.config
    none = tune_app(folder, "status", "x", "--trial", 99)
    assert (none.returncode, none.stderr) == (1, "Error: experiment x has no trial 99, allowed: 0 to 8\n")


def test_list_shows_the_experiment_with_its_size(folder: Path) -> None:
    row = json.loads(tune_app(folder, "list", "--json").stdout)[0]
    files = [f for f in (folder / "experiments" / "x").rglob("*") if f.is_file()]
    assert row["name"] == "x"
    assert row["bytes"] == sum(f.stat().st_size for f in files)
    assert "x" in tune_app(folder, "list").stdout


def test_the_exported_config_trains_again_to_the_same_floats(folder: Path, small_data: Path) -> None:
    done = tune_app(folder, "export", "x", "-o", "best")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (folder / "best").iterdir()} == {*FILES, MANIFEST}
    experiment = load_experiment("x", folder / "experiments")
    best = experiment.history.best
    assert best is not None
    expected = [r.valid["valid_accuracy"] for r in experiment.trial(best.trial).results if r.k <= best.k]
    trained = json.loads(tune_app(folder, "train", "best/config.yaml", "--json").stdout)
    assert trained["valid_accuracies"] == expected
    assert trained["same"] is True
    assert "The same valid accuracies as in the search." in tune_app(folder, "train", "best/config.yaml").stdout
    other = tune_app(folder, "train", "best/config.yaml", "--data", small_data.with_name("other.parquet"))
    assert (other.returncode, other.stdout) == (1, "")
    verified = json.loads(tune_app(folder, "verify", "best", "--json").stdout)
    assert (verified["exactly"], verified["valid_accuracies"]) == (True, expected)
    config = folder / "best" / "config.yaml"
    edited = config.with_name("two-threads.yaml")
    edited.write_text(config.read_text().replace("threads: 1", "threads: 2"))
    assert "different: threads: 1 in the search, 2 now" in tune_app(folder, "train", edited).stdout


def test_the_exported_weights_have_the_recorded_accuracy(folder: Path, small_data: Path) -> None:
    import safetensors.torch
    import torch

    from tune_app.task import training
    from tune_app.task.tutorial import sources

    done = tune_app(folder, "export", "x", "-o", "weights")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "weights" / "manifest.json").read_text())
    weights = safetensors.torch.load_file(folder / "weights" / "weights.safetensors")
    lesson = training.prepare(manifest["config"], sources.load(str(small_data)), 0, torch.device("cpu"))
    with torch.no_grad():
        for name, parameter in lesson.parameters.items():
            parameter.copy_(weights[name])
    assert training.validate(lesson)[1] == manifest["metrics"]["valid_accuracy"]


def test_an_export_writes_over_nothing(folder: Path) -> None:
    (folder / "there").mkdir()
    done = tune_app(folder, "export", "x", "-o", "there")
    assert (done.returncode, done.stderr) == (1, "Error: there: exists already, allowed: another folder with -o\n")
    assert list((folder / "there").iterdir()) == []


def test_a_name_that_exists_is_refused_before_anything_starts(folder: Path) -> None:
    before = (folder / "experiments" / "x" / "record.jsonl").read_bytes()
    done = tune_app(folder, "search", "quick", "--name", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: experiments/x: exists already, allowed: another --name")
    assert (folder / "experiments" / "x" / "record.jsonl").read_bytes() == before


IN_ONE_SECOND = "from tune_app import api, cli; api.name_now = lambda space: f'{space}-now'; cli.main()"


def test_three_searches_that_start_in_one_second_have_names_of_their_own(
    tmp_path: Path, start: Callable[..., Running], small_data: Path
) -> None:
    (tmp_path / "s.yaml").write_text("space: {level: linear, bs: 256}\nsearch: {num_samples: 1, max_epochs: 1}")
    arguments = ("search", "s.yaml", "--data", small_data, "--no-dashboard", "--quiet")
    running = [start(*arguments, command=[sys.executable, "-c", IN_ONE_SECOND]) for _ in range(3)]
    for one in running:
        code, _, err = one.end(240)
        assert code == 0, err
    names = {path.name for path in (tmp_path / "experiments").iterdir()}
    assert names == {"s-now", "s-now-2", "s-now-3"}
    for name in names:
        experiment = load_experiment(name, tmp_path / "experiments")
        assert (experiment.state, experiment.history.spec.name) == ("finished", name)


def test_the_experiment_moves_and_is_removed_as_a_folder(folder: Path) -> None:
    shutil.copytree(folder / "experiments", folder / "elsewhere")
    moved = tune_app(folder, "status", "x", "--experiments-dir", "elsewhere")
    assert moved.stdout == tune_app(folder, "status", "x").stdout
    assert tune_app(folder, "remove", "x", "--experiments-dir", "elsewhere").returncode == 0
    assert list((folder / "elsewhere").iterdir()) == []


def test_after_the_end_nothing_is_left_but_the_experiment(folder: Path) -> None:
    assert left_in(temporary(folder)) == []
    assert {p.name for p in (folder / "experiments" / "x").iterdir()} == {"record.jsonl", "states"}
    assert not (folder / "ray_results").exists()


@pytest.mark.parametrize(
    ("lrs", "code", "said"),
    [("[0.1, 1000]", 3, "1 completed, 0 stopped early, 1 failed"), ("[900, 1000]", 1, "No trial succeeded.")],
)
def test_failed_trials_show_in_the_exit_code(
    tmp_path: Path, small_data: Path, lrs: str, code: int, said: str
) -> None:
    (tmp_path / "space.yaml").write_text(
        f"space: {{level: scratch, lr: {{grid: {lrs}}}}}\nsearch: {{max_epochs: 2, results_per_epoch: 2}}"
    )
    arguments = ("search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard")
    done = tune_app(tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
    failed = json.loads(tune_app(tmp_path, "status", "--trial", 1, "--json").stdout)
    assert (failed["state"], failed["reason"]) == ("failed", "diverged: a loss was not finite at epoch 0.5")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_search_within_seconds_and_status_shows_it(
    tmp_path: Path, start: Callable[..., Running], small_data: Path, number: signal.Signals
) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    running = start("search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard")
    running.wait_for_results("x", 2)
    meanwhile = json.loads(tune_app(tmp_path, "status", "--json").stdout)
    assert meanwhile["state"] == "running"
    assert meanwhile["trials"][0]["state"] == "running"
    refused = tune_app(tmp_path, "remove", "x")
    assert refused.stderr == "Error: experiments/x: is being searched right now; end that first\n"
    processes = descendants(running.process.pid)
    assert len(processes) > 3
    running.process.send_signal(number)
    code, out, _ = running.end(seconds=15)
    assert code == 130
    assert "The search was interrupted." in out
    wait_for(lambda: not any(map(alive, processes)), "no process is left", 10)
    assert left_in(temporary(tmp_path)) == []
    status = json.loads(tune_app(tmp_path, "status", "--json").stdout)
    assert (status["state"], status["trials"][0]["state"]) == ("interrupted", "interrupted")


def test_a_time_budget_ends_the_search_with_exit_code_0(tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    arguments = ("--name", "x", "--data", small_data, "--no-dashboard", "--time-budget", "8s", "--quiet")
    done = tune_app(tmp_path, "search", "space.yaml", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The time budget is used up.")


def test_a_target_ends_the_search(tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "space.yaml").write_text("space: {level: linear, lr: 0.1}\nsearch: {num_samples: 50}")
    arguments = ("--name", "x", "--data", small_data, "--no-dashboard", "--target", "0.6", "--json")
    done = tune_app(tmp_path, "search", "space.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["state"], outcome["reason"]) == ("finished", "target")
    assert outcome["best"]["valid_accuracy"] >= 0.6
    assert len(outcome["trials"]) < 10


def test_the_dashboard_answers_at_the_address_that_is_printed(
    tmp_path: Path, start: Callable[..., Running], small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    running = start("search", "space.yaml", "--name", "x", "--data", small_data)
    assert running.process.stderr is not None
    line = next(line for line in running.process.stderr if line.startswith("Ray dashboard: "))
    assert re.match(r"Ray dashboard: http://127\.0\.0\.1:\d+$", line)
    running.wait_for_results("x", 1)
    with urllib.request.urlopen(line.split()[-1], timeout=10) as page:
        assert "Ray Dashboard" in page.read().decode()
    running.process.send_signal(signal.SIGINT)
    assert running.end(seconds=15)[0] == 130


def test_more_than_there_is_is_refused_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    for option in ("--cpus-per-trial", "--gpus-per-trial"):
        done = tune_app(tmp_path, "search", "quick", option, 999, timeout=10)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: {option} is 999, allowed: up to the ")
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "experiments").exists()


def test_wrong_data_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_text("<html>")
    done = tune_app(tmp_path, "search", "quick", "--data", "data.parquet")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: data.parquet: not a Parquet file")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "experiments").exists()


def test_a_batch_size_that_leaves_too_few_batches_is_refused(tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "space.yaml").write_text("space: {level: linear, bs: {choice: [64, 1024]}}")
    done = tune_app(tmp_path, "search", "space.yaml", "--data", small_data)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: space.bs goes up to 1024, but 2000 images and 4 results per epoch allow at most 500\n"
    )


def idx_folder(folder: Path, x: NDArray[np.uint8], y: NDArray[np.int64]) -> Path:
    """The two IDX files of these images and labels."""
    folder.mkdir()
    (folder / IMAGES).write_bytes(idx_bytes(x.reshape(-1, 28, 28)))
    (folder / LABELS).write_bytes(idx_bytes(y))
    return folder


@pytest.mark.parametrize("classes", [10, 2])
@pytest.mark.parametrize("command", ["search", "plan"])
def test_images_sorted_by_label_are_refused_before_anything_starts(
    tmp_path: Path, small: Mnist, classes: int, command: str
) -> None:
    x, y = small.train.x[small.train.y < classes], small.train.y[small.train.y < classes]
    order = np.argsort(y, kind="stable")
    data = idx_folder(tmp_path / "sorted", x[order], y[order])
    options = ["--quiet", "--no-dashboard"] if command == "search" else []
    done = tune_app(tmp_path, command, "quick", "--data", data, *options)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    lacking = {
        10: "train has no image of class 9; valid has no image of class 0, 1, ",
        2: "valid has no image of class 0; ",
    }
    assert line.startswith(f"Error: {data}: {lacking[classes]}")
    assert "; allowed: each class in both. Are the images sorted by label? Shuffle " in line
    assert not (tmp_path / "experiments").exists()


BEGAN_BEFORE = """
import sys
from tune_app import Where, extend, search
from tune_app import driver

check, driver.check_classes = driver.check_classes, lambda *_: None  # as it once was
search("quick", name="x", settings={"num_samples": 1, "max_epochs": 1}, where=Where(data=sys.argv[1]), quiet=True)
driver.check_classes = check
print(len(extend("x", {"num_samples": 2}, quiet=True).history.trials))
"""


def test_a_search_of_sorted_images_that_began_before_goes_on(tmp_path: Path, small: Mnist) -> None:
    order = np.argsort(small.train.y, kind="stable")
    data = idx_folder(tmp_path / "sorted", small.train.x[order], small.train.y[order])
    python = [sys.executable, "-c", BEGAN_BEFORE]
    done = tune_app(tmp_path, data, command=python)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_a_class_that_hardly_occurs_is_told_before_the_training(tmp_path: Path, small: Mnist) -> None:
    x, y = small.train.x[:1200], small.train.y[:1200]
    rare = np.flatnonzero(y[:1000] == 4)[1:]
    keep = np.delete(np.arange(1200), rare)
    data = idx_folder(tmp_path / "rare", np.r_[x[keep], x[rare]], np.r_[y[keep], y[rare]])
    done = tune_app(tmp_path, "search", "quick", "--data", data, "--no-dashboard", "--num-samples", 1)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "Hardly any images of a class: train has 12 of class 4."
