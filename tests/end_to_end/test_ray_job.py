"""A cluster that asks for a token and whose nodes have no tune_app: searches as jobs of `ray job submit`."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import AWS
from tests.end_to_end.conftest import COMMAND, needs_mounts, tune_app, wait_for
from tests.end_to_end.invariants import check
from tests.end_to_end.nodes import Nodes, nodes, python_without
from tests.refused import error_of
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import load_experiment

pytestmark = needs_mounts
SPACE = """
space: {level: {choice: [linear, cnn]}, lr: {loguniform: [0.01, 0.2]}, bs: 64}
search: {num_samples: 4, max_epochs: 1, results_per_epoch: 2, grace_period: 0.5}
"""
LONG = "space: {level: cnn, bs: 4, lr: 0.01}\nsearch: {num_samples: 2, max_epochs: 50, results_per_epoch: 1000}"
OURS = ("optuna", "rich")
"""What neither ray[tune] nor torch brings along, but for safetensors: a worker does without."""
TOKEN = "a" * 64


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3_server: str) -> Iterator[Nodes]:
    """Two nodes, and the credentials of a bucket on the head."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "token").write_text(TOKEN)
    (folder / "spaces").mkdir()
    (folder / "spaces" / "mine.yaml").write_text(SPACE)
    (folder / "spaces" / "long.yaml").write_text(LONG)
    head, worker = python_without(folder / "head", "tune_app"), python_without(folder / "worker", "tune_app", *OURS)
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token"), "PYTHONPATH": ""}
    with nodes(folder, "--num-cpus", 1, python=head, **env, **AWS, AWS_ENDPOINT_URL=s3_server) as cluster:
        cluster.start("--num-cpus", 1, python=worker)
        yield cluster


def ray_job(cluster: Nodes, what: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Ray's own command for jobs."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", what, "--address", cluster.dashboard]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cluster.folder,
        env=cluster.env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@cache
def packed(folder: Path) -> str:
    """What `tune-app package` prints."""
    return tune_app(folder, "package").stdout.strip()


def submit(cluster: Nodes, *entrypoint: object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Submit something as docs/cluster.md has it; a cluster that has just come up is waited for."""
    env_vars = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
    runtime_env = json.dumps({"py_modules": [packed(cluster.folder)], "env_vars": env_vars})
    there = ("--working-dir", cluster.folder / "spaces", "--runtime-env-json", runtime_env, *options, "--")
    done: list[subprocess.CompletedProcess[str]] = []

    def taken() -> bool:
        done.append(ray_job(cluster, "submit", *there, *entrypoint))
        return "No available agent" not in done[-1].stderr

    wait_for(taken, "there is an agent that takes a job", 120)
    return done[-1]


def search(*arguments: object) -> tuple[object, ...]:
    return ("python", "-m", "tune_app", "search", *arguments, "--address", "auto")


def test_nodes_without_tune_app_get_it_with_the_job_which_copies_to_a_bucket_with_the_credentials_of_the_head(
    tmp_path: Path, cluster: Nodes, bucket: Bucket
) -> None:
    named = ("--metadata-json", '{"job_name": "nightly"}')
    done = submit(cluster, *search("mine.yaml", "--name", "x", "--experiments-dir", bucket), options=named)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 trials: " in done.stdout and "Best: valid accuracy" in done.stdout
    asked = urllib.request.Request(f"{cluster.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"})
    jobs = urllib.request.urlopen(asked, timeout=10).read().decode()
    for secret in (TOKEN, AWS["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in jobs + done.stdout + done.stderr
    (job,) = [job for job in json.loads(jobs) if "mine.yaml" in job["entrypoint"] and job["submission_id"]]
    assert job["metadata"]["job_name"] == "nightly"
    experiment = load_experiment("x", bucket.url)
    assert experiment.state == "finished"
    assert len({attempt["pid"] for trial in experiment.history.trials for attempt in trial.attempts}) == 2
    (place,) = (cluster.folder / ".cache" / "tune_app" / "s3").glob(f"*/{bucket.path}")
    (tmp_path / "experiments").symlink_to(place)
    check(tmp_path, "x")


def test_a_job_keeps_its_experiments_elsewhere_and_ends_cleanly_when_it_is_stopped(tmp_path, cluster) -> None:
    refused = search("long.yaml", "--name", "x")
    kept = search("long.yaml", "--name", "x", "--experiments-dir", tmp_path)
    both = f"{' '.join(map(str, refused))}; exec {' '.join(map(str, kept))}"
    sent = submit(cluster, "bash", "-c", both, options=("--no-wait",))
    assert sent.returncode == 0, sent.stderr
    job = re.findall(r"raysubmit_\w+", sent.stdout)[0]
    record = tmp_path / "x" / "record.jsonl"
    wait_for(lambda: record.exists() and '"kind":"result"' in record.read_text(), "there is a result")
    stopped = ray_job(cluster, "stop", job)
    assert stopped.returncode == 0, stopped.stderr
    end = load_experiment("x", tmp_path).history.end
    assert end is not None and end["reason"] == "interrupted"
    said = ray_job(cluster, "logs", job).stdout
    assert "Error: --experiments-dir experiments: Ray removes the folder of a job;" in said


@pytest.mark.parametrize("other", ["RAY_AUTH_TOKEN_PATH={}/wrong", "RAY_AUTH_MODE=disabled"])
def test_whoever_has_another_token_or_none_is_told_in_one_line(tmp_path, small_data, cluster, other) -> None:
    (tmp_path / "wrong").write_text("b" * 64)
    command = ["env", "RAY_AUTH_MODE=token", other.format(tmp_path), *COMMAND]
    arguments = ("search", "quick", "--quiet", "--data", small_data, "--address", cluster.address)
    line = error_of(tune_app(tmp_path, *arguments, command=command))
    assert line.startswith(f"--address {cluster.address}: the cluster asks for its token; ")
    assert not (tmp_path / "experiments").exists()
