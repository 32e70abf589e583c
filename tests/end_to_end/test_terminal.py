"""What a person sees and types on a real terminal."""

import os
import pty
import select
import shlex
import subprocess
import time
from pathlib import Path

from tests.end_to_end.conftest import (
    COMMAND,
    alive,
    descendants,
    environment,
    kill_all,
    left_in,
    temporary,
    tune_app,
    wait_for,
)
from tune_app.storage.load import load_experiment

LONG = "space: {level: cnn, bs: 2, lr: 0.01}\nsearch: {num_samples: 3, max_epochs: 50, results_per_epoch: 20}"

SHORT = "space: {level: linear, bs: 256}\nsearch: {num_samples: 2, max_epochs: 1, early_stopping: false}"


def read_until(terminal: int, wanted: str | None, seconds: float = 60) -> str:
    """What the terminal shows until `wanted` is there, or until its end."""
    seen = ""
    deadline = time.monotonic() + seconds
    while wanted is None or wanted not in seen:
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {wanted!r} in {seen!r}"
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
    return seen


def test_ctrl_c_on_a_terminal_ends_the_search_and_its_processes(tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    arguments = ["search", "space.yaml", "--name", "x", "--data", str(small_data), "--no-dashboard"]
    env = {**environment(tmp_path), "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(COMMAND[0], [*COMMAND, *arguments], env)
    try:
        seen = read_until(terminal, "best valid accuracy")
        assert "0 of 3 trials: 0 completed, 0 stopped, 0 failed" in seen
        assert "running" in seen
        assert "cnn, lr 0.01, bs 2, momentum 0.9" in seen
        processes = descendants(pid)
        os.write(terminal, b"\x03")
        seen = read_until(terminal, None, seconds=15)
        assert "The search was interrupted." in seen
        assert "Traceback" not in seen
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
        wait_for(lambda: not any(map(alive, processes)), "no process is left", 10)
    finally:
        kill_all(pid)
    assert left_in(temporary(tmp_path)) == []
    assert load_experiment("x", tmp_path / "experiments").state == "interrupted"


def in_bash(folder: Path, data: Path, rest: str) -> subprocess.CompletedProcess[str]:
    """A search as a line that bash runs, and what follows it there."""
    arguments = ["search", "space.yaml", "--data", str(data), "--no-dashboard", "--name", "x"]
    return tune_app(folder, command=["bash", "-c", f"{shlex.join([*COMMAND, *arguments])} {rest}"])


def test_a_search_without_its_streams_is_a_whole_search(tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "space.yaml").write_text(SHORT)
    done = in_bash(tmp_path, small_data, "<&- >&- 2>&-")
    assert (done.stdout, done.stderr) == ("", "")
    experiment = load_experiment("x", tmp_path / "experiments")  # each line of the record is what was written
    assert (experiment.state, len(experiment.history.trials)) == ("finished", 2)
    assert left_in(temporary(tmp_path)) == []


def test_a_search_whose_reader_leaves_ends_without_a_traceback_and_can_be_resumed(tmp_path, small_data) -> None:
    (tmp_path / "space.yaml").write_text(SHORT.replace("num_samples: 2", "num_samples: 20"))
    done = in_bash(tmp_path, small_data, "2>&1 | head -n 1")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert load_experiment("x", tmp_path / "experiments").state == "interrupted"
    wait_for(lambda: left_in(temporary(tmp_path)) == [], "Ray's files are gone", 10)
