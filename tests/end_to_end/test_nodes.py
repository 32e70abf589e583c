"""Clusters of several real nodes: nothing is lost when one dies, and one that joins is used."""

import os
import signal
from pathlib import Path

import pytest

from tests.end_to_end.conftest import HASTY, Start, kill_all, needs_mounts, succeed, tune_app, wait_for
from tests.end_to_end.invariants import check
from tests.end_to_end.nodes import nodes
from tune_app.experiment.trial import Trial
from tune_app.storage.load import load_experiment

pytestmark = pytest.mark.alone

LONG = """
space: {level: cnn, bs: 2, lr: 0.01}
search: {num_samples: 3, max_epochs: 3, results_per_epoch: 5, grace_period: 3}
"""


def namespace(pid: int) -> str:
    """The mount namespace of a process."""
    return str(Path(f"/proc/{pid}/ns/mnt").readlink())


@needs_mounts
def test_a_node_that_is_missing_is_waited_for_and_one_that_dies_loses_nothing_where_another_joins(
    tmp_path: Path, start: Start, small_data: Path
) -> None:
    """The nodes share no file system: results and weights reach the driver through Ray."""
    (tmp_path / "space.yaml").write_text(LONG)
    with nodes(tmp_path, "--num-cpus", 0) as cluster:
        arguments = ("search", "space.yaml", "--data", small_data, "--address", cluster.address)
        refused = tune_app(tmp_path, *arguments, "--cpus-per-trial", 2)
        assert refused.returncode == 1
        said = "Error: --cpus-per-trial is 2, allowed: up to the 0 that one machine has here"
        assert refused.stderr.splitlines()[-1] == said
        running = start(*arguments, "--name", "x", "--max-epochs", 50, "--wait-for-resources", 60)
        line = running.wait_for_line("Waiting")
        assert line.startswith("Waiting up to 60 s for resources: --cpus-per-trial is 1, allowed: up to the 0 ")
        second = cluster.start("--num-cpus", 2)

        running.wait_for_results("x", 1)

        def far() -> list[Trial]:
            trials = load_experiment("x", tmp_path / "experiments").history.trials
            there = [trial for trial in trials if trial.results and not trial.ended]
            return [t for t in there if namespace(t.attempts[-1]["pid"]) != namespace(os.getpid())]

        wait_for(lambda: len(far()) == 2, "two trials train on the new node")
        lost = far()
        kill_all(second.pid)  # as a power cut does
        cluster.start("--num-cpus", 2)

        def go_on() -> bool:
            trials = [load_experiment("x", tmp_path / "experiments").trial(trial.number) for trial in lost]
            return all(trial.results[-1].attempt == 1 for trial in trials)

        wait_for(go_on, "the trials of the dead node go on")
        running.process.send_signal(signal.SIGINT)
        running.end(60, code=130)
        for before in lost:
            trial = load_experiment("x", tmp_path / "experiments").trial(before.number)
            assert [result.k for result in trial.results] == list(range(1, len(trial.results) + 1))
            there = sum(result.attempt == 0 for result in trial.results)
            assert len(before.results) <= there <= len(before.results) + 1, "it went on from its last result"


def test_when_the_head_dies_the_driver_says_how_to_go_on_and_a_fresh_ray_finishes(
    tmp_path: Path, start: Start, small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        small = ("--num-samples", 1, "--max-epochs", 9, "--data", small_data)  # longer than a head may be silent
        arguments = ("search", "space.yaml", "--name", "x", *small, "--address", cluster.address)
        running = start(*arguments, command=HASTY)
        running.wait_for_results("x", 2)
        cluster.kill("gcs_server")
        _, err = running.end(60, code=1)
        assert f"Error: the cluster at {cluster.address} no longer answers" in err
        assert err.splitlines()[-1].endswith("go on with: tune-app resume x")
        assert "Traceback" not in err
    succeed(tmp_path, "resume", "x", "--no-dashboard")
    check(tmp_path, "x")
