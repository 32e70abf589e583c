"""tune-app submit on real clusters: the head has no tune_app, the workers nothing but torch, ray and numpy."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import AWS
from tests.end_to_end.conftest import COMMAND, needs_mounts, tune_app, wait_for
from tests.end_to_end.invariants import check
from tests.end_to_end.nodes import Nodes, nodes, python_without
from tune_app.experiment.bucket import Bucket
from tune_app.experiment.history import load_experiment

SPACE = """
space: {level: {choice: [linear, cnn]}, lr: {loguniform: [0.01, 0.2]}, bs: 64}
search: {num_samples: 4, max_epochs: 1, results_per_epoch: 2, grace_period: 0.5}
"""
OURS = ("optuna", "safetensors", "rich")
"""What neither ray[tune] nor torch brings along."""


def submit(cluster: Nodes, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "submit", *map(str, arguments), "--address", cluster.dashboard],
        cwd=cluster.folder,
        env={**cluster.env, **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@needs_mounts
def test_a_search_is_sent_followed_and_fetched_and_needs_little_on_the_nodes(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SPACE)
    token, wrong = tmp_path / "token", tmp_path / "wrong"
    token.write_text("a" * 64)
    wrong.write_text("b" * 64)
    head = python_without(tmp_path / "head", "tune_app")
    worker = python_without(tmp_path / "worker", "tune_app", *OURS)
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with nodes(tmp_path, "--num-cpus", 1, python=head, **secret) as cluster:
        cluster.start("--num-cpus", 1, python=worker)
        refused = submit(cluster, "mine.yaml", "--name", "x", RAY_AUTH_TOKEN_PATH=str(wrong))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert refused.stderr.startswith(f"Error: --address {cluster.dashboard}: ")
        done = submit(cluster, "mine.yaml", "--name", "x", "--seed", 3)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "4 trials: " in done.stdout
        assert "Best: valid accuracy" in done.stdout
        assert "a" * 64 not in done.stdout + done.stderr
        history = load_experiment("x", tmp_path / "experiments").history
        assert (history.spec.settings.seed, history.spec.settings.num_samples) == (3, 4)
        assert history.best is not None
        asked = urllib.request.Request(
            f"{cluster.dashboard}/api/jobs/", headers={"Authorization": "Bearer " + "a" * 64}
        )
        jobs = json.loads(urllib.request.urlopen(asked, timeout=10).read())
        (labels,) = [job["metadata"] for job in jobs if (job["metadata"] or {}).get("job_name") == "x"]
        assert labels["space_digest"] == history.spec.digest
        best = f"{history.best['valid_accuracy']:.4f} (trial {history.best['trial']})"
        assert labels["best_valid_accuracy"] == best
        assert len({attempt["pid"] for trial in history.trials for attempt in trial.attempts}) == 2
    check(tmp_path, "x")
    again = tune_app(tmp_path, "submit", "mine.yaml", "--name", "x")
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_what_the_head_lacks_is_one_clear_line(tmp_path: Path) -> None:
    head = python_without(tmp_path / "head", "tune_app", "optuna", "safetensors")
    with nodes(tmp_path, "--num-cpus", 1, python=head) as cluster:
        done = submit(cluster, "quick", "--name", "x")
    assert done.returncode == 1
    assert (
        "Error: on the head of the cluster optuna is missing, needed: <6,>=5.0; safetensors is missing"
        in done.stdout
    )
    assert "--pip" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "experiments").exists()


def test_a_stopped_job_ends_cleanly(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(
        "space: {level: cnn, bs: 4, lr: 0.01}\nsearch: {num_samples: 2, max_epochs: 50, results_per_epoch: 1000}"
    )
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        sent = submit(cluster, "long.yaml", "--name", "x", "--no-wait")
        assert sent.returncode == 0, sent.stderr
        job = sent.stderr.splitlines()[0].split()[-1]
        record = tmp_path / "tune_app_experiments" / "x" / "record.jsonl"
        wait_for(lambda: record.exists() and '"kind":"result"' in record.read_text(), "there is a result")
        command = [sys.executable, "-m", "ray.scripts.scripts", "job", "stop", job, "--address", cluster.dashboard]
        stopped = subprocess.run(command, env=cluster.env, capture_output=True, text=True, timeout=90, check=False)
        assert stopped.returncode == 0, stopped.stderr
        experiment = load_experiment("x", tmp_path / "tune_app_experiments")
        assert experiment.history.end is not None
        assert experiment.history.end["reason"] == "interrupted"


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:8265", "nonsense"])
def test_an_address_without_a_job_server_is_one_line(tmp_path: Path, address: str) -> None:
    done = tune_app(tmp_path, "submit", "quick", "--address", address)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(f"Error: --address {address}: ")


def test_the_requirements_of_the_head_are_those_of_the_package_without_what_ray_brings(tmp_path: Path) -> None:
    lines = tune_app(tmp_path, "submit", "--print-requirements").stdout.splitlines()
    assert any(line.startswith("optuna") for line in lines)
    assert not any(line.startswith(("ray", "torch", "numpy", "pytest", "plotly", "pandas")) for line in lines)


def test_images_on_this_machine_are_sent_along_and_the_experiment_is_copied_with_the_heads_credentials(
    tmp_path: Path, small_data: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(SPACE)
    shutil.copy(small_data, tmp_path / "images.parquet")
    with (tmp_path / "large.parquet").open("wb") as large:
        large.truncate(50_000_001)
    for name in AWS:
        monkeypatch.delenv(name)
    endpoint = {name: os.environ[name] for name in ("AWS_ENDPOINT_URL",)}
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with nodes(tmp_path, "--num-cpus", 1, **AWS) as cluster:
        refused = submit(cluster, "mine.yaml", "--data", "large.parquet")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert refused.stderr.startswith("Error: --data large.parquet: 50 MB, allowed: up to 50 MB, which are sent")
        unset = dict.fromkeys(AWS, "")
        arguments = ("mine.yaml", "--name", "x", "--data", "images.parquet", "--experiments-dir", bucket)
        done = submit(cluster, *arguments, **endpoint, **unset)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Fetched" not in done.stderr
        jobs = urllib.request.urlopen(f"{cluster.dashboard}/api/jobs/", timeout=10).read().decode()
        assert AWS["AWS_SECRET_ACCESS_KEY"] not in jobs + done.stdout + done.stderr
    for name, value in {**AWS, **endpoint}.items():
        monkeypatch.setenv(name, value)
    experiment = load_experiment("x", bucket.url)
    assert experiment.state == "finished"
    assert str(experiment.history.spec.data.source).endswith("/data/images.parquet")
    assert experiment.history.spec.data.train == 2000
