"""What hangs, stops, fills up, fails or comes at a bad moment from outside: the search says so and goes on."""

import hashlib
import os
import pickle
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests.bundles import config_of, run, search_really
from tests.end_to_end.conftest import (
    Running,
    Start,
    alive,
    descendants,
    left_in,
    needs_mounts,
    program_of,
    succeed,
    temporary,
    tune_app,
    using,
    wait_for,
)
from tests.end_to_end.invariants import check
from tune_app.experiment.record import Entry, encode, read_entries
from tune_app.storage.load import load_experiment

pytestmark = pytest.mark.alone

SLOW = "space: {level: cnn, bs: 2, lr: 0.01}\nsearch: {num_samples: 2, max_epochs: 2, results_per_epoch: 4}"
SEARCH = ("search", "space.yaml", "--name", "x", "--no-dashboard", "--data")


def entries(folder: Path, *kinds: str) -> list[Entry]:
    """The entries in the record of experiment x, of these kinds if any are given."""
    record = folder / "experiments" / "x" / "record.jsonl"
    return [e for e in read_entries(record) if not kinds or e["kind"] in kinds]


def wait_for_child(running: Running, name: str) -> set[int]:
    """The processes that a command has started, as soon as one of that name is among them; "": any."""
    processes: set[int] = set()

    def there() -> bool:
        assert running.process.poll() is None, running.process.communicate()
        processes.update(descendants(running.process.pid))
        return any(name in ("", program_of(pid)) for pid in processes)

    wait_for(there, f"there is a process {name}")
    return processes


def assert_nothing_is_left(folder: Path, processes: set[int], seconds: float) -> None:
    """No process that a command started, nor what it had in its temporary directory."""
    there = temporary(folder)
    wait_for(lambda: not any(map(alive, processes)) and not using(there), "no process is left", seconds)
    wait_for(lambda: left_in(there) == [], "the temporary directory is empty", seconds)


def test_a_stopped_driver_takes_no_trial_for_hung_and_a_hung_one_goes_on_in_a_new_worker_from_its_last_result(
    tmp_path: Path, start: Start, small_data: Path
) -> None:
    # A result takes a small part of the timeout, on a busy machine too.
    (tmp_path / "space.yaml").write_text(SLOW.replace("bs: 2", "bs: 4").replace("epoch: 4", "epoch: 16"))
    running = start(*SEARCH, small_data, "--num-samples", 1, "--trial-timeout", 3)
    running.wait_for_results("x", 2)
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(6)  # twice the timeout: how long it was stopped is the point
    running.process.send_signal(signal.SIGCONT)
    running.wait_for_results("x", len(entries(tmp_path, "result")) + 1)
    times = [e["time"] for e in entries(tmp_path)]
    assert max(after - before for before, after in pairwise(times)) >= 5, "it was not stopped"
    assert entries(tmp_path, "lost") == []

    hung = load_experiment("x", tmp_path / "experiments").trial(0).attempts[0]["pid"]
    os.kill(hung, signal.SIGSTOP)
    wait_for(lambda: not alive(hung), "the worker that hangs is ended")
    out, _ = running.end(120)
    assert "1 completed, 0 stopped early, 0 failed" in out
    assert [(e["trial"], e["reason"]) for e in entries(tmp_path, "lost")] == [(0, "no result for 3 s")]
    first, second, *_ = entries(tmp_path, "started")  # a trial also goes on after each pause
    assert first["pid"] != second["pid"]
    attempts = [r["attempt"] for r in entries(tmp_path, "result")]
    assert attempts == sorted(attempts)
    assert attempts.count(0) >= 3
    assert attempts.count(1) >= 1
    durations = [v for e in entries(tmp_path) for k, v in e.items() if k.endswith("seconds")]
    assert len(durations) > 7 * 8  # seven of each result, and of asking, the workers' starts and the end
    assert min(durations) >= 0
    check(tmp_path, "x")


@pytest.mark.parametrize(
    ("number", "child"), [(signal.SIGINT, ""), (signal.SIGTERM, "raylet"), (signal.SIGKILL, "raylet")]
)
def test_a_signal_while_a_search_starts_ends_it_and_leaves_nothing(
    tmp_path: Path, start: Start, small_data: Path, number: signal.Signals, child: str
) -> None:
    (tmp_path / "space.yaml").write_text(SLOW)
    running = start(*SEARCH, small_data)
    processes = wait_for_child(running, child)
    running.process.send_signal(number)
    code, said = (-signal.SIGKILL, "") if number == signal.SIGKILL else (130, "Interrupted.\n")
    assert running.end(30, code) == ("", said)
    assert not (tmp_path / "experiments").exists()
    assert_nothing_is_left(tmp_path, processes, 30 if number == signal.SIGKILL else 5)


def test_a_search_killed_while_it_runs_leaves_no_process_and_no_temporary_file(tmp_path, start, small_data) -> None:
    (tmp_path / "space.yaml").write_text(SLOW)
    running = start("search", "space.yaml", "--name", "x", "--data", small_data)
    running.wait_for_results("x", 2)
    processes = descendants(running.process.pid)
    programs = [program_of(pid) for pid in processes]
    ours = {"gcs_server", "raylet", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "sh"}
    assert ours <= set(programs) and any(program.startswith("ray::TrialWorker") for program in programs)
    running.process.kill()
    assert_nothing_is_left(tmp_path, processes, 30)


def test_a_second_signal_ends_the_search_at_once_and_loses_nothing(tmp_path, start, small_data) -> None:
    (tmp_path / "space.yaml").write_text(SLOW)
    running = start(*SEARCH, small_data)
    running.wait_for_results("x", 3)
    record = tmp_path / "experiments" / "x" / "record.jsonl"
    processes = descendants(running.process.pid)
    acknowledged = record.read_bytes()
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.1)  # so that the first is no longer pending, or they would be one
    running.process.send_signal(signal.SIGINT)
    _, err = running.end(15, code=130)
    assert err in ("", "Interrupted.\n")
    assert_nothing_is_left(tmp_path, processes, 10)
    assert record.read_bytes().startswith(acknowledged[: acknowledged.rfind(b"\n") + 1])


def in_shell(folder: Path, script: str) -> None:
    """Run a script as root in a folder."""
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk, which is the folder of the experiments."""
    in_shell(tmp_path, "mkdir experiments; mount -t tmpfs -o size=4m none experiments")
    yield tmp_path / "experiments"
    in_shell(tmp_path, "umount --recursive --lazy experiments")


def said_once(err: str) -> str:
    """The only line on stderr beside those on trials that have ended."""
    (line,) = [line for line in err.splitlines() if not line.startswith("trial ")]
    return line


@needs_mounts
def test_a_disk_that_is_full_and_then_read_only_stops_the_search_with_the_path_and_it_goes_on_afterwards(
    tmp_path: Path, start: Start, small_data: Path, disk: Path
) -> None:
    (tmp_path / "space.yaml").write_text(SLOW.replace("bs: 2", "bs: 4").replace("epoch: 4", "epoch: 8"))
    go_on = ("resume", "x", "--in-process")
    running = start(*SEARCH, small_data)
    running.wait_for_results("x", 3)
    processes = descendants(running.process.pid)
    in_shell(disk, "cat /dev/zero > ballast 2> /dev/null || true")
    out, err = running.end(60, code=1)
    assert out == ""
    assert said_once(err).startswith("Error: experiments/x/")
    assert said_once(err).lower().endswith(": cannot be written: no space left on device")
    assert_nothing_is_left(tmp_path, processes, 10)
    assert load_experiment("x", disk).state == "interrupted"
    in_shell(tmp_path, "mount -o remount,size=64m experiments")

    running = start(*go_on)
    running.wait_for_results("x", len(entries(tmp_path, "result")) + 2)
    # The disk as a whole cannot become read-only while the record is open for writing.
    in_shell(disk / "x", "mount --bind states states; mount -o remount,bind,ro states")
    out, err = running.end(60, code=1)
    assert out == ""
    assert said_once(err).startswith("Error: experiments/x/states/")
    assert said_once(err).endswith(": Read-only file system")
    in_shell(disk / "x", "umount states")

    succeed(tmp_path, *go_on)
    check(tmp_path, "x")


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_what_a_stranger_put_into_an_experiment_is_not_executed(tmp_path, small_data, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    space, settings = dict(config_of("fit")), {"num_samples": 1, "max_epochs": 4}
    search_really(tmp_path, "x", space, small_data, lambda search: search.history.results == 3, **settings)

    marker, root = tmp_path / "executed", tmp_path / "experiments" / "x"
    harmful = pickle.dumps(Touch(marker))
    pickle.loads(harmful)
    assert marker.exists()  # the pickle does what it is meant to
    marker.unlink()
    torch.save(Touch(marker), tmp_path / "harmful.pt")
    # The states are pickles, and the record says that they are what was kept.
    states = sorted((root / "states").iterdir())
    for n, state in enumerate(states):
        state.write_bytes(harmful if n % 2 else (tmp_path / "harmful.pt").read_bytes())
    digests = {int(state.stem.split("-")[1]): hashlib.sha256(state.read_bytes()).hexdigest() for state in states}
    told = entries(tmp_path)
    for e in told:
        if e["kind"] == "result":
            e["state"] = digests.get(e["k"], e["state"])
    (root / "record.jsonl").write_bytes(b"".join(map(encode, told)))
    # Pickles lie where Ray Tune and others would read them, and in place of other files.
    for name in ("tuner.pkl", "error.pkl", "searcher-state-0.pkl", "record.pkl", "states/00000-000001.pkl"):
        (root / name).write_bytes(harmful)
    for name, record in (("y", harmful), ("z", pickle.dumps(Touch(marker), protocol=0))):
        (tmp_path / "experiments" / name).mkdir()
        (tmp_path / "experiments" / name / "record.jsonl").write_bytes(record + b"\n")
    (tmp_path / "config.yaml").write_text(f"config: !!python/object/apply:os.system ['touch {marker}']")

    damaged = "Error: experiments/{}/record.jsonl, line 1: the record is damaged: its checksum does not fit"
    for code, said, *command in (
        (0, "x: interrupted (interrupted)", "status", "x"),
        (1, damaged.format("y"), "status", "y"),
        (1, damaged.format("z"), "status", "z"),
        (0, "damaged", "list"),
        (1, "Error: experiment x: the kept state is none of a training: ", "export", "x"),
        (1, damaged.format("y"), "resume", "y"),
        (0, "The same valid accuracies as in the search.", "train", "x", "--trial", 0),
        (1, "Error: config.yaml", "train", "config.yaml"),
        # A state that is none counts as lost: its trial begins again, and what is recorded is not judged twice.
        (0, "1 trial: 1 completed, 0 stopped early, 0 failed", "resume", "x", "--no-dashboard"),
    ):
        if command[:2] == ["resume", "x"]:
            ended = tune_app(tmp_path, *command)
            found, output = ended.returncode, ended.stdout + ended.stderr
        else:
            done = run(*command)
            found, output = done.exit_code, done.output
        assert not marker.exists(), command
        assert found == code, (command, output)
        assert said in output, (command, output)
        assert "Traceback" not in output, command
