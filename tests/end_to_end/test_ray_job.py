"""A search as a job of `ray job submit`, on a cluster whose nodes have no tune_app."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.conftest import AWS
from tests.end_to_end.conftest import needs_mounts, tune_app, wait_for
from tests.end_to_end.invariants import check
from tests.end_to_end.nodes import Nodes, nodes, python_without
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import load_experiment

SPACE = """
space: {level: {choice: [linear, cnn]}, lr: {loguniform: [0.01, 0.2]}, bs: 64}
search: {num_samples: 4, max_epochs: 1, results_per_epoch: 2, grace_period: 0.5}
"""
LONG = "space: {level: cnn, bs: 4, lr: 0.01}\nsearch: {num_samples: 2, max_epochs: 50, results_per_epoch: 1000}"
OURS = ("optuna", "rich")
"""What neither ray[tune] nor torch brings along, but for safetensors: a worker does without."""


def ray_job(cluster: Nodes, what: str, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Ray's own command for jobs."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", what, "--address", cluster.dashboard]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cluster.folder,
        env={**cluster.env, **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def submit(cluster: Nodes, *arguments: object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Submit a search as docs/cluster.md has it; a cluster that has just come up is waited for."""
    folder = tune_app(cluster.folder, "package").stdout.strip()
    runtime_env = {"py_modules": [folder], "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}
    search = ("--", "python", "-m", "tune_app", "search", *arguments, "--address", "auto")
    done: list[subprocess.CompletedProcess[str]] = []

    def taken() -> bool:
        done.append(ray_job(cluster, "submit", *options, "--runtime-env-json", json.dumps(runtime_env), *search))
        return "No available agent" not in done[-1].stderr

    wait_for(taken, "there is an agent that takes a job", 120)
    return done[-1]


def job_of(cluster: Nodes, name: str, token: str = "") -> dict[str, Any]:
    """What the dashboard says of the driver's job."""
    url = urllib.request.Request(f"{cluster.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    jobs = json.loads(urllib.request.urlopen(url, timeout=10).read())
    (job,) = [job for job in jobs if name in job["entrypoint"] and job["submission_id"]]
    return dict(job)


@needs_mounts
def test_nodes_without_tune_app_get_it_with_the_job(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a" * 64)
    head = python_without(tmp_path / "head", "tune_app")
    worker = python_without(tmp_path / "worker", "tune_app", *OURS)
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    spaces, found = tmp_path / "spaces", tmp_path / "found"
    spaces.mkdir()
    (spaces / "mine.yaml").write_text(SPACE)
    with nodes(tmp_path, "--num-cpus", 1, python=head, **secret) as cluster:
        cluster.start("--num-cpus", 1, python=worker)
        there = ("--working-dir", str(spaces), "--metadata-json", '{"job_name": "nightly"}')
        done = submit(cluster, "mine.yaml", "--name", "x", "--experiments-dir", found, options=there)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "4 trials: " in done.stdout and "Best: valid accuracy" in done.stdout
        assert "a" * 64 not in done.stdout + done.stderr
        assert job_of(cluster, "--name x", "a" * 64)["metadata"]["job_name"] == "nightly"
        history = load_experiment("x", found).history
        assert len({attempt["pid"] for trial in history.trials for attempt in trial.attempts}) == 2
    found.rename(tmp_path / "experiments")
    check(tmp_path, "x")


def test_a_job_keeps_its_experiments_elsewhere_or_in_a_bucket_and_ends_cleanly_when_it_is_stopped(
    tmp_path: Path, bucket: Bucket
) -> None:
    spaces, found = tmp_path / "spaces", tmp_path / "found"
    spaces.mkdir()
    (spaces / "long.yaml").write_text(LONG)
    there = ("--working-dir", str(spaces))
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        refused = submit(cluster, "long.yaml", "--name", "x", options=there)
        assert refused.returncode != 0
        assert "Error: --experiments-dir experiments: Ray removes the folder of a job;" in refused.stdout
        sent = submit(
            cluster, "long.yaml", "--name", "x", "--experiments-dir", found, options=(*there, "--no-wait")
        )
        assert sent.returncode == 0, sent.stderr
        job = re.findall(r"raysubmit_\w+", sent.stdout)[0]
        record = found / "x" / "record.jsonl"
        wait_for(lambda: record.exists() and '"kind":"result"' in record.read_text(), "there is a result")
        stopped = ray_job(cluster, "stop", job)
        assert stopped.returncode == 0, stopped.stderr
        end = load_experiment("x", found).history.end
        assert end is not None and end["reason"] == "interrupted"

        copied = ("quick", "--name", "y", "--num-samples", 1, "--max-epochs", 1, "--experiments-dir", bucket)
        done = submit(cluster, *copied)  # with the credentials of the head
        assert done.returncode == 0, done.stdout + done.stderr
        jobs = urllib.request.urlopen(f"{cluster.dashboard}/api/jobs/", timeout=10).read().decode()
        assert AWS["AWS_SECRET_ACCESS_KEY"] not in jobs + done.stdout + done.stderr
    assert load_experiment("y", bucket.url).state == "finished"
