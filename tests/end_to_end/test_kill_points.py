"""Killed exactly between any two steps, the search goes on to the outcome of an uninterrupted one."""

import signal
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import tune_app
from tests.end_to_end.invariants import check, outcome
from tune_app.experiment.record import read_entries

SPACE = """
space:
  level: {choice: [scratch, fit]}
  lr: {loguniform: [0.01, 1]}
  momentum: {choice: [0, 0.9], when: {level: [fit]}}
search: {num_samples: 13, max_epochs: 3, results_per_epoch: 2, max_concurrent_trials: 1, seed: 1}
"""

KILLED = """
import os, signal, sys
from tune_app.cli import main
from tune_app.experiment.record import RecordWriter, encode
from tune_app.experiment.states import States
from tune_app.engine.search import Search

point, left = sys.argv[1], int(sys.argv[2])
sys.argv = ["tune-app", *sys.argv[3:]]


def passed():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def patched(owner, name, before=lambda *_: None, after=lambda *_: None):
    original = getattr(owner, name)

    def call(self, *arguments):
        before(self, *arguments)
        result = original(self, *arguments)
        after(self, *arguments)
        return result

    setattr(owner, name, call)


def at(entry):
    if point == "stop" and entry["kind"] == "result" and entry["decision"] == "stop" or entry["kind"] == point:
        passed()


def half_a_line(self, entry):
    global left
    if entry["kind"] == "result":
        left -= 1
        if left == 0:
            line = encode({"n": self.n, **entry})
            os.write(self.descriptor, line[: len(line) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


match point:
    case "judged":
        patched(Search, "add_result", before=lambda *_: passed())
    case "kept":
        patched(States, "put", after=lambda *_: passed())
    case "half a line":
        patched(RecordWriter, "append", before=half_a_line)
    case _:
        patched(RecordWriter, "append", after=lambda _self, entry: at(entry))
main()
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder in which a search with each sampler has run without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "space.yaml").write_text(SPACE)
    for sampler in ("random", "tpe"):
        arguments = ("--name", sampler, "--sampler", sampler, "--data", small_data, "--no-dashboard")
        done = tune_app(folder, "search", "space.yaml", *arguments)
        assert done.returncode == 0, done.stderr
        check(folder, sampler)
        told = outcome(folder, sampler)
        assert {"stopped", "completed"} == {what[2] for what in told if what[0] == "ended"}
    assert outcome(folder, "random") != outcome(folder, "tpe")  # whose first ten are random, too
    return folder


@pytest.mark.parametrize(
    ("point", "n", "sampler", "last", "states"),
    [
        # A result was judged; nothing is kept or written of it.
        ("judged", 3, "random", "result 2", [1, 2]),
        # Its state is kept, but the record does not know of the result.
        pytest.param("kept", 3, "random", "result 2", [1, 2, 3], marks=pytest.mark.soak),
        # Its entry is being written: the line is torn.
        ("half a line", 3, "tpe", "result 2", [1, 2, 3]),
        # Its entry is written; the older state is still there, and Tune has not heard of the decision.
        ("result", 3, "random", "result 3", [1, 2, 3]),
        # Its entry says that the trial stops, but not yet that it has ended.
        pytest.param("stop", 2, "tpe", "result 2", None, marks=pytest.mark.soak),
        # The end is written; the sampler has not heard of it.
        pytest.param("ended", 12, "tpe", "ended", None, marks=pytest.mark.soak),
        # The config is in the record; Tune has not heard of it.
        ("asked", 12, "tpe", "asked", None),
    ],
)
def test_killed_between_two_steps_a_search_goes_on_as_if_it_had_not_been(
    tmp_path: Path,
    small_data: Path,
    whole: Path,
    point: str,
    n: int,
    sampler: str,
    last: str,
    states: list[int] | None,
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    script = [sys.executable, "-c", KILLED, point, str(n)]
    arguments = ("search", "space.yaml", "--name", "x", "--sampler", sampler, "--data", small_data)
    killed = tune_app(tmp_path, *arguments, "--no-dashboard", command=script)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    root = tmp_path / "experiments" / "x"
    written = list(read_entries(root / "record.jsonl"))
    assert f"{written[-1]['kind']} {written[-1].get('k', '')}".strip() == last
    assert (point == "half a line") != (root / "record.jsonl").read_bytes().endswith(b"\n")
    if states:
        assert [int(path.stem.split("-")[1]) for path in sorted(root.rglob("*.safetensors"))] == states
    resumed = tune_app(tmp_path, "resume", "x", "--no-dashboard")
    assert resumed.returncode == 0, resumed.stderr
    check(tmp_path, "x")
    assert outcome(tmp_path, "x") == outcome(whole, sampler)
    assert list(read_entries(root / "record.jsonl"))[: len(written)] == written
