"""Plans on a real Ray: what is planned, how a search of the same turns out, and what a signal leaves."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Running, alive, descendants, left_in, temporary, tune_app, wait_for

SPACE = """
space: {level: {choice: [linear, cnn]}, lr: {loguniform: [0.05, 0.5]}, bs: {choice: [32, 64]}}
search: {num_samples: 6, max_epochs: 6, results_per_epoch: 2, grace_period: 1, sampler: random, seed: 3}
"""


def test_a_search_of_what_was_planned_says_how_wrong_the_plan_was(tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    options = ("space.yaml", "--data", small_data, "--no-dashboard", "--num-samples", 8)
    planned = json.loads(tune_app(tmp_path, "plan", *options, "--json").stdout)
    assert planned["trials"] == 8
    assert [(rung["family"], rung["epoch"]) for rung in planned["rungs"]] == [
        (family, epoch) for family in ("logistic", "cnn") for epoch in (1, 3, 6)
    ]
    assert sum(rung["reach"] for rung in planned["rungs"] if rung["epoch"] == 1) == pytest.approx(8)
    assert 0 < planned["seconds"]["low"] <= planned["seconds"]["median"] <= planned["seconds"]["high"] < 100
    assert 100e6 < planned["memory"]["worker"] < 2e9
    assert 10e6 < planned["memory"]["ray"] < 4e9
    assert left_in(temporary(tmp_path)) == []
    assert [path.name for path in (tmp_path / "experiments").iterdir()] == [".plans"]

    done = tune_app(tmp_path, "search", *options, "--name", "x")
    assert done.returncode == 0, done.stderr
    status = json.loads(tune_app(tmp_path, "status", "--json").stdout)
    assert status["plan"]["planned"] == {key: planned[key] for key in ("seconds", "epochs", "rungs")}
    assert status["plan"]["not_compared"] is None
    took = status["plan"]["took"]
    assert took["reach"][0] + took["reach"][3] == 8
    assert took["reach"][2] + took["reach"][5] == sum(trial["state"] == "completed" for trial in status["trials"])
    assert planned["epochs"]["low"] / 2 <= took["epochs"] <= 2 * planned["epochs"]["high"]
    assert planned["seconds"]["low"] / 4 <= took["seconds"] <= 4 * planned["seconds"]["high"]  # a busy machine
    used = sum(p.stat().st_size for p in (tmp_path / "experiments" / "x").rglob("*") if p.is_file())
    assert planned["disk"] / 4 <= used <= 1.5 * planned["disk"]
    assert [line.split()[0] for line in tune_app(tmp_path, "list").stdout.splitlines()] == ["name", "x"]

    other = tune_app(tmp_path, "search", *options[:-1], 1, "--name", "other")
    assert other.returncode == 0, other.stderr
    assert json.loads(tune_app(tmp_path, "status", "other", "--json").stdout)["plan"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_plan_that_is_interrupted_leaves_nothing(
    tmp_path: Path, start: Callable[..., Running], small_data: Path, number: signal.Signals
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    running = start("plan", "space.yaml", "--data", small_data, "--no-dashboard")
    records = temporary(tmp_path)
    wait_for(
        lambda: any('"kind":"result"' in path.read_text() for path in records.rglob("record.jsonl")),
        "it trains",
    )
    processes = descendants(running.process.pid)
    assert len(processes) > 3
    running.process.send_signal(number)
    code, out, err = running.end(seconds=20)
    assert (code, out, err) == (130, "", "Interrupted.\n")
    wait_for(lambda: not any(alive(pid) for pid in processes), "its processes have ended")
    assert left_in(temporary(tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_a_cluster_that_does_not_answer_and_data_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_text("<html>")
    for option, value in (("--address", "127.0.0.1:1"), ("--data", "data.parquet")):
        plan, search = (tune_app(tmp_path, command, "quick", option, value) for command in ("plan", "search"))
        assert (plan.returncode, plan.stdout) == (1, "")
        assert plan.stderr == search.stderr
    assert not (tmp_path / "experiments").exists()
