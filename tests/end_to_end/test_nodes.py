"""Clusters of several real nodes: nothing is lost when one dies, and one that joins is used."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import Running, needs_mounts, tune_app, wait_for
from tests.end_to_end.invariants import check
from tests.end_to_end.nodes import kill_node, nodes
from tune_app.storage.load import load_experiment

LONG = """
space: {level: cnn, bs: 2, lr: 0.01}
search: {num_samples: 3, max_epochs: 3, results_per_epoch: 5, grace_period: 3}
"""


def namespace(pid: int) -> str:
    """The mount namespace of a process."""
    return str(Path(f"/proc/{pid}/ns/mnt").readlink())


def workers(folder: Path, name: str = "x") -> list[int]:
    """The processes that have begun with trials."""
    trials = load_experiment(name, folder / "experiments").history.trials
    return [attempt["pid"] for trial in trials for attempt in trial.attempts]


@needs_mounts
def test_without_a_shared_file_system_results_and_weights_reach_the_driver_and_a_dead_nodes_trial_goes_on(
    tmp_path: Path, start: Callable[..., Running], small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        second = cluster.start("--num-cpus", 1)
        running = start("search", "space.yaml", "--name", "x", "--data", small_data, "--address", cluster.address)
        running.wait_for_results("x", 5)
        pids = workers(tmp_path)
        places = {namespace(pid) for pid in pids}
        assert len(places) == 2, "both nodes are used"
        far = next(pid for pid in pids if namespace(pid) != namespace(os.getpid()))
        lost = next(
            trial
            for trial in load_experiment("x", tmp_path / "experiments").history.trials
            if trial.attempts and trial.attempts[-1]["pid"] == far
        )
        kill_node(second)
        before = len(lost.results)
        code, out, err = running.end(150)
        assert code == 0, err
        assert "3 completed, 0 stopped early, 0 failed" in out
        trial = load_experiment("x", tmp_path / "experiments").trial(lost.number)
        assert len(trial.attempts) == 2
        assert sum(r["attempt"] == 0 for r in trial.results) in (before, before + 1), (
            "it went on from its last result"
        )
    check(tmp_path, "x")


@needs_mounts
def test_a_node_that_joins_is_used_and_one_that_is_missing_is_waited_for(
    tmp_path: Path, start: Callable[..., Running], small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        arguments = ("search", "space.yaml", "--data", small_data, "--address", cluster.address)
        refused = tune_app(tmp_path, *arguments, "--cpus-per-trial", 2)
        assert refused.returncode == 1
        assert refused.stderr.endswith(
            "\nError: --cpus-per-trial is 2, allowed: up to the 1 that one machine has here\n"
        )
        one = start(*arguments, "--name", "x", "--num-samples", 6)
        one.wait_for_results("x", 2)
        cluster.start("--num-cpus", 2)
        wait_for(lambda: len(set(workers(tmp_path))) >= 2, "the new node is used")
        code, _, err = one.end(150)
        assert code == 0, err
        arguments += ("--name", "y", "--cpus-per-trial", 3, "--num-samples", 1, "--wait-for-resources", 60)
        waiting = start(*arguments)
        assert waiting.process.stderr is not None
        lines = [waiting.process.stderr.readline() for _ in range(2)]
        assert lines[1].startswith("Waiting up to 60 s for resources: --cpus-per-trial is 3, allowed: up to the 2")
        cluster.start("--num-cpus", 3)
        code, out, err = waiting.end(120)
        assert code == 0, err
        assert "1 completed" in out
    check(tmp_path, "x")
    check(tmp_path, "y")


def test_when_the_head_dies_the_driver_says_how_to_go_on_and_a_fresh_cluster_finishes(
    tmp_path: Path, start: Callable[..., Running], small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        running = start("search", "space.yaml", "--name", "x", "--data", small_data, "--address", cluster.address)
        running.wait_for_results("x", 2)
        cluster.kill("gcs_server")
        killed = time.monotonic()
        code, _, err = running.end(70)
        assert time.monotonic() - killed < 60
        assert code == 1
        assert f"Error: the cluster at {cluster.address} no longer answers" in err
        assert err.splitlines()[-1].endswith("go on with: tune-app resume x")
        assert "Traceback" not in err
    done = tune_app(tmp_path, "resume", "x", "--no-dashboard")
    assert done.returncode == 0, done.stderr
    check(tmp_path, "x")


def test_a_cluster_that_asks_for_a_token_is_joined_with_it_and_refuses_others_in_one_line(
    tmp_path: Path, small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text("space: {level: linear}\nsearch: {num_samples: 1, max_epochs: 1}")
    token, wrong = tmp_path / "token", tmp_path / "wrong"
    token.write_text("a" * 64)
    wrong.write_text("b" * 64)
    with nodes(tmp_path, "--num-cpus", 1, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token)) as cluster:

        def search(**env: str) -> subprocess.CompletedProcess[str]:
            arguments = ["search", "space.yaml", "--quiet", "--data", str(small_data), "--address", cluster.address]
            return subprocess.run(
                [sys.executable, "-m", "tune_app", *arguments],
                cwd=tmp_path,
                env={**cluster.env, **env},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )

        for env in ({"RAY_AUTH_TOKEN_PATH": str(wrong)}, {"RAY_AUTH_MODE": "disabled"}):
            refused = search(**env)
            assert refused.returncode == 1
            assert refused.stderr.startswith(
                f"Error: --address {cluster.address}: the cluster asks for its token; "
            )
            assert refused.stderr.count("\n") == 1
            assert not (tmp_path / "experiments").exists()
        done = search()
        assert done.returncode == 0, done.stderr
        assert "a" * 64 not in done.stdout + done.stderr
        status = json.loads(tune_app(tmp_path, "status", "--json").stdout)
        assert status["trials"][0]["state"] == "completed"


def test_a_token_on_a_cluster_that_knows_none_is_one_line_and_leaves_nothing(
    tmp_path: Path, small_data: Path
) -> None:
    (tmp_path / "token").write_text("a" * 64)
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tune_app",
                "search",
                "quick",
                "--data",
                str(small_data),
                "--address",
                cluster.address,
            ],
            cwd=tmp_path,
            env={**cluster.env, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: --address {cluster.address}: the cluster knows no tokens, and its workers would die of this one;"
        " allowed: RAY_AUTH_MODE=disabled\n"
    )
    assert not (tmp_path / "experiments").exists()


def test_gpus_that_nodes_claim_are_shared_and_each_trial_sees_its_own(
    tmp_path: Path, small_data: Path, start: Callable[..., Running]
) -> None:
    (tmp_path / "space.yaml").write_text("space: {level: linear}\nsearch: {num_samples: 6, max_epochs: 1}")
    (tmp_path / "meeting").mkdir()
    with nodes(tmp_path, "--num-cpus", 4, "--num-gpus", 2, MEETING=str(tmp_path / "meeting")) as cluster:
        arguments = ("search", "space.yaml", "--data", small_data, "--address", cluster.address)
        asked = tune_app(tmp_path, *arguments, "--gpus-per-trial", 0.5)
        assert asked.returncode == 1
        assert asked.stderr.splitlines()[-1] == (
            "Error: Ray offers 2 GPUs that torch cannot use (no CUDA);"
            " allowed: --gpus-per-trial 0, or a torch with CUDA"
        )
        auto = tune_app(tmp_path, *arguments, "--name", "auto")
        assert auto.returncode == 0, auto.stderr
        assert "Ray offers 2 GPUs that torch cannot use (no CUDA): its trials run on CPUs." in auto.stderr
        script = [sys.executable, "-m", "tests.end_to_end.claimed_gpus", cluster.address, str(tmp_path)]
        done = subprocess.run(script, env=cluster.env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        # 4 CPUs for 2 GPUs: two trials share each, and no trial sees more than one.
        assert seen["gpus"] == 0.5
        assert seen["at_once"] == 4
        assert sorted(seen["visible"]) == ["0", "0", "1", "1"]


STORED = """
import json, sys, ray
from ray._private.internal_api import node_stats
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
nodes = [(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in ray.nodes() if node["Alive"]]
stats = [node_stats(*node, include_memory_info=False).store_stats for node in nodes]
print(json.dumps([s.object_store_bytes_used for s in stats]))
"""


@needs_mounts
def test_each_node_holds_mnist_once_as_bytes(tmp_path: Path, start: Callable[..., Running]) -> None:
    (tmp_path / "space.yaml").write_text(
        "space: {level: cnn, bs: 8, lr: 0.01}\nsearch: {num_samples: 4, max_epochs: 9, results_per_epoch: 90}"
    )
    with nodes(tmp_path, "--num-cpus", 2) as cluster:
        cluster.start("--num-cpus", 2)
        running = start("search", "space.yaml", "--name", "x", "--address", cluster.address)

        def all_train() -> bool:
            assert running.process.poll() is None, running.process.communicate()
            if not (tmp_path / "experiments" / "x" / "record.jsonl").exists():
                return False
            trials = load_experiment("x", tmp_path / "experiments").history.trials
            return len(trials) == 4 and all(trial.results for trial in trials)

        wait_for(all_train, "two trials train on each of two nodes", 120)
        command = [sys.executable, "-c", STORED, cluster.address]
        done = subprocess.run(command, env=cluster.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        stored = json.loads(done.stdout.splitlines()[-1])
        print(stored)
        # 60,000 images of 784 bytes are 47.04 MB, their labels 0.06 MB.
        assert len(stored) == 2
        assert all(47_000_000 <= held <= 60_000_000 for held in stored), stored
        running.process.send_signal(signal.SIGINT)
        assert running.end(60)[0] == 130
