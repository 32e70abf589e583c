"""Rays of our own and of others."""

import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from click.testing import CliRunner

from tests.end_to_end.conftest import (
    COMMAND,
    Start,
    descendants,
    environment,
    left_in,
    needs_mounts,
    program_of,
    succeed,
    temporary,
    tune_app,
    wait_for,
)
from tests.end_to_end.test_process import INSTALLED, plant
from tests.end_to_end.test_ray_dashboard import LOOPBACK, listening
from tests.refused import error_of
from tune_app.cli import main
from tune_app.cluster.connect import NO_NODE
from tune_app.cluster.guard import LEAVE_OUT
from tune_app.storage.load import load_experiment

SPACE = "space: {level: linear}\nsearch: {num_samples: 2, max_epochs: 1}"
HEAD = """
import sys, ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
         _node_ip_address="127.0.0.1", object_store_memory=100_000_000, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
print(ray.is_initialized() and len(ray.nodes()) == 1, flush=True)
"""


@contextmanager
def running_head(folder: Path, head: str = HEAD) -> Iterator[str]:
    """The address of a Ray that another process started; it must still be there at the end."""
    env = environment(folder)
    command = [sys.executable, "-c", head, env["TMPDIR"]]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        assert process.communicate("", timeout=30)[0] == "True\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one that all tests here join."""
    with running_head(tmp_path_factory.mktemp("head")) as address:
        yield address


def test_a_running_cluster_is_joined_and_left_alone_and_its_workers_import_nothing_from_where_a_person_types(
    tmp_path: Path, small_data: Path, address: str
) -> None:
    plant(tmp_path, tmp_path / "RAN")
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = ("search", "space.yaml", "--name", "x", "--data", small_data, "--address", address)
    succeed(tmp_path, *arguments, command=INSTALLED)
    assert load_experiment("x", tmp_path / "experiments").history.count("completed") == 2
    assert not (tmp_path / "RAN").exists()
    refused = tune_app(tmp_path, *arguments[:2], "--address", address, "--cpus-per-trial", 3, command=INSTALLED)
    assert error_of(refused) == "--cpus-per-trial is 3, allowed: up to the 2 that one machine has here"


NOTEBOOK = """
import json, logging, os, subprocess, sys, threading, time
from pathlib import Path

import numpy as np
import ray  # before: it listens here alone nevertheless
from tune_app import Where, load_experiment, search

address, data = sys.argv[1:]
settings = {"num_samples": np.int64(2), "max_epochs": 1}

def state():
    return {**os.environ, "": os.getcwd(), "argv": str(sys.argv), "log": logging.getLogger("ray").level}

def configs(name, address=None):
    before = state()
    found = search("space.yaml", name, settings=settings, where=Where(data=data, address=address), quiet=True)
    assert state() == before, sorted(set(state().items()) ^ set(before.items()))
    assert [trial.state for trial in found.history.trials] == ["completed"] * 2
    return [trial.config for trial in found.history.trials]

def refused(name, address=None):
    try:
        configs(name, address)
    except Exception as error:
        print(type(error).__name__, error)

children = []
def start_a_child_of_our_own():
    record = Path("experiments/here/record.jsonl")
    while not (record.exists() and '"result"' in record.read_text()):
        time.sleep(0.05)
    children.append(subprocess.Popen(["sleep", "60"]))
thread = threading.Thread(target=start_a_child_of_our_own)
thread.start()
first = configs("here")
thread.join()
assert children[0].poll() is None
children[0].kill()
refused("here")
refused("nowhere", "nonsense")
configs("there", address)

ray.init(address=address, log_to_driver=False, configure_logging=False)  # knows no tokens, as before
assert ray.get(ray.put(1)) == 1
ray.shutdown()
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)  # with its own token
assert ray.get(ray.remote(lambda: 1).remote()) == 1
assert configs("within") == first
assert ray.is_initialized()
ray.shutdown()
configs("here-2")
print(load_experiment().name)
"""


def test_a_notebook_searches_here_and_there_and_within_its_own_ray_and_afterwards_all_is_as_it_was(
    tmp_path: Path, small_data: Path, address: str
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    code = ["env", "-u", "RAY_AUTH_MODE", sys.executable, "-c", NOTEBOOK]
    done = succeed(tmp_path, address, small_data, command=code)
    assert done.stdout.splitlines() == [
        "TuneAppError experiments/here: exists already, allowed: another name, or tune-app remove here",
        "TuneAppError address nonsense: is no address, allowed: auto or HOST:PORT",
        "here-2",
    ]


ALONE = ["unshare", "--pid", "--fork", "--mount-proc"]
"""Starts a process that sees no others, as on another machine."""


@needs_mounts
def test_a_machine_that_is_no_node_of_the_cluster_is_one_line_with_the_remedy(
    tmp_path: Path, small_data: Path, address: str
) -> None:
    arguments = ("search", "quick", "--data", small_data, "--address", address)
    done = tune_app(tmp_path, *arguments, timeout=50, command=[*ALONE, *COMMAND])
    assert error_of(done) == f"--address {address}: cannot be joined: {NO_NODE}"
    assert not (tmp_path / "experiments").exists()


OTHER = """
import json, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
gcs = ray._private.worker.global_worker.gcs_client
where = {"namespace": b"cluster"}
known = json.loads(gcs.internal_kv_get(b"CLUSTER_METADATA", **where))
gcs.internal_kv_put(b"CLUSTER_METADATA", json.dumps({**known, **json.loads(sys.argv[2])}).encode(), True, **where)
"""


def test_a_cluster_of_another_ray_or_python_is_one_line_with_both(tmp_path, small_data, address) -> None:
    command = [sys.executable, "-c", OTHER, address, '{"python_version": "3.12.11"}']
    subprocess.run(command, env=environment(tmp_path), timeout=60, check=True)
    done = tune_app(tmp_path, "search", "quick", "--data", small_data, "--address", address)
    theirs = f"Ray {ray.__version__} and Python 3.12.11"
    ours = f"Ray {ray.__version__} and Python {platform.python_version()}"
    said = f"--address {address}: the cluster has {theirs}, this process {ours}; allowed: {theirs}"
    assert error_of(done) == said
    assert not (tmp_path / "experiments").exists()


def test_auto_is_what_ray_address_says_and_asked_first_whether_it_answers(
    tmp_path: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["search", "quick", "--data", str(small_data), "--address", "auto"])
    assert error_of(done).startswith("--address auto: no Ray cluster answers at 127.0.0.1:1: ")


BROKEN = 'mount --bind /bin/false "$1" && shift && exec "$@"'


@needs_mounts
def test_a_ray_that_does_not_come_up_is_one_line_with_its_logs_and_leaves_nothing(tmp_path, small_data) -> None:
    path = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"
    broken = ["unshare", "--mount", "sh", "-c", BROKEN, "broken", str(path), *COMMAND]
    done = tune_app(tmp_path, "search", "quick", "--data", small_data, "--no-dashboard", command=broken)
    line = error_of(done)
    assert line.startswith("Ray does not start: its raylet has ended; ")
    assert "; allowed: a machine with memory, processes, and disk space in " in line
    logs = [Path(part.removeprefix("its logs: ")) for part in line.split("; ") if "its logs: " in part]
    assert all(list(folder.glob("gcs_server*")) for folder in logs)
    assert len(logs) == 1
    assert not (tmp_path / "experiments").exists()
    wait_for(lambda: left_in(temporary(tmp_path)) == logs, "Ray's other files are gone")


def test_a_dashboard_that_ends_while_it_comes_up_is_told_and_the_search_goes_on(
    tmp_path: Path, start: Start, small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    running = start("search", "space.yaml", "--name", "x", "--data", small_data, "--dashboard")

    def dashboards() -> list[int]:
        return [pid for pid in descendants(running.process.pid) if program_of(pid) == "dashboard.py"]

    wait_for(dashboards, "the dashboard's process has started")
    os.kill(dashboards()[0], signal.SIGKILL)
    out, err = running.end()
    assert "Ray dashboard: it has not come up; the search goes on without it" in err
    assert out.startswith("2 trials: 2 completed, ")


PLAIN = ["env", f"{LEAVE_OUT}=1"]
SLOW = "space: {level: cnn, bs: 8}\nsearch: {num_samples: 2, max_epochs: 1, results_per_epoch: 4}"


def test_without_anything_private_of_ray_the_search_runs_too_and_on_this_machine_only(
    tmp_path: Path, start: Start, small_data: Path
) -> None:
    (tmp_path / "space.yaml").write_text(SLOW)
    command = ["env", "-u", "RAY_AUTH_MODE", *PLAIN[1:], *COMMAND]
    running = start("search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard", command=command)
    running.wait_for_results("x", 1)
    pids = {running.process.pid} | descendants(running.process.pid)
    assert {"monitor.py", "log_monitor.py"} <= {program_of(pid) for pid in pids}
    assert listening(pids) <= LOOPBACK
    out, _ = running.end()
    assert out.startswith("2 trials: 2 completed, ")


IMPORTED_BEFORE = "import ray; from tune_app import search; search('space.yaml', name='x')"


def test_where_ray_was_imported_before_and_cannot_be_kept_here_the_search_ends_before_it_begins(tmp_path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    done = tune_app(tmp_path, command=[*PLAIN, sys.executable, "-c", IMPORTED_BEFORE])
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(r"tune_app\.errors\.TuneAppError: Ray listens at .*; allowed: 127\.0\.0\.1, .*", last)
    assert not (tmp_path / "experiments" / "x").exists()
    wait_for(lambda: left_in(temporary(tmp_path)) == [], "Ray is gone")
