"""A search and the process and folder that it is called in: whose code runs, and what stays as it was."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import COMMAND, Start, left_in, succeed, temporary, tune_app
from tune_app.storage.load import load_experiment

INSTALLED = [str(Path(sys.executable).with_name("tune-app"))]
"""The command as a person has it: unlike `python -m`, it does not import from where one types."""
BY_DEFAULT = ["env", "-u", "RAY_AUTH_MODE", *COMMAND]
SPACE = "space: {level: linear, bs: 64}\nsearch: {num_samples: 1, max_epochs: 1, results_per_epoch: 1}"
PLANT = 'open({ran!r}, "a").write(__name__)\n'


def plant(folder: Path, ran: Path) -> None:
    """Put files into a folder that note when they are imported, named like what workers import."""
    folder.mkdir(exist_ok=True)
    for name in ("torch", "safetensors", "psutil", "numpy"):
        (folder / f"{name}.py").write_text(PLANT.format(ran=str(ran)))


def test_workers_import_nothing_from_where_a_person_types_and_get_nothing_from_another_ray_or_uv(
    tmp_path: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, stranger = tmp_path / "RAN", tmp_path / "stranger"
    plant(stranger, ran)
    (stranger / "space.yaml").write_text(SPACE)
    (tmp_path / "hook.py").write_text("def hook(_environment):\n    return {'env_vars': {'FROM': 'hook'}}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split()]))
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "hook.hook")
    job = {"runtime_env": {"env_vars": {"FROM": "job"}}, "metadata": {"job_submission_id": "other"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    there = ("--no-dashboard", "--experiments-dir", stranger)
    arguments = ("search", "space.yaml", "--name", "x", "--data", small_data, *there)
    succeed(stranger, *arguments, command=INSTALLED, timeout=60)
    assert [trial.state for trial in load_experiment("x", stranger).history.trials] == ["completed"]
    assert not ran.exists()


SCRIPT = """
import json, sys, threading, time
from pathlib import Path

beside = sys.path.pop(0)  # this process has imported what it needs before it looks there
import torch
import tune_app.trials.bridge
from tune_app import Where, search

sys.path.insert(0, beside)
states, here = {}, Path.cwd()

def one(name):
    history = search("space.yaml", name=name, where=Where(data="images.parquet")).history
    states[name] = [trial.state for trial in history.trials], history.spec.data.source

first = threading.Thread(target=one, args=("a",))
first.start()
while first.is_alive() and Path.cwd() == here:  # until Ray starts
    time.sleep(0.001)
assert Path.cwd() != here
one("b")
first.join()
print(json.dumps(states))
"""


def test_of_two_searches_of_a_script_the_second_waits_for_the_first_and_none_imports_what_lies_beside_it(
    tmp_path: Path, small_data: Path
) -> None:
    ran, scripts = tmp_path / "RAN", tmp_path / "scripts"
    plant(scripts, ran)
    (scripts / "mine.py").write_text(SCRIPT)
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "images.parquet").symlink_to(small_data)
    done = tune_app(tmp_path, command=["env", "-u", "RAY_AUTH_MODE", sys.executable, f"{scripts}/mine.py"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [["completed"], "images.parquet"] for name in ("a", "b")}
    assert done.stderr.count("Another search is running in this process") == 1
    assert {path.name for path in (tmp_path / "experiments").iterdir()} == {"a", "b"}
    assert not ran.exists()


SLOW = "space: {level: cnn, bs: 8}\nsearch: {num_samples: 1, max_epochs: 1, results_per_epoch: 1}"


def test_by_default_ray_asks_for_a_token_that_only_its_owner_can_read_and_that_ends_with_it(
    tmp_path: Path, start: Start, small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(SLOW)
    running = start("search", "space.yaml", "--name", "x", "--data", small_data, command=BY_DEFAULT)
    line = running.wait_for_line("(it asks for the token in ")
    token = Path(line.rpartition(" in ")[2].rstrip(")\n"))
    assert token.is_relative_to(temporary(tmp_path)) and token.stat().st_mode & 0o077 == 0
    secret = token.read_text()
    out, err = running.end()
    record = (tmp_path / "experiments" / "x" / "record.jsonl").read_text()
    assert secret not in out + err + record
    assert not (tmp_path / ".ray").exists() and left_in(temporary(tmp_path)) == []


def test_where_others_hold_the_memory_the_search_stops_after_the_first_lost_workers(tmp_path, small_data) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    full = ["env", "RAY_memory_usage_threshold=0.001", *COMMAND]
    arguments = ("search", "space.yaml", "--name", "x", "--num-samples", 20, "--data", small_data, "--no-dashboard")
    done = tune_app(tmp_path, *arguments, command=full)
    assert done.returncode == 1
    assert done.stdout.startswith(
        "The search was stopped: the workers of all trials so far were killed for want of memory.\n"
    )
    assert "Trial 0: its worker was killed because the machine's memory ran out\n" in done.stdout
    history = load_experiment("x", tmp_path / "experiments").history
    assert 2 <= len(history.trials) <= 4 and 3 <= sum(trial.losses for trial in history.trials) <= 5
