"""Killed exactly between any two steps, a search goes on to the outcome of an uninterrupted one.

Without Ray, which has no part in what is judged, kept and written: test_resume.py kills searches on it.
"""

import signal
import sys
from pathlib import Path

import pytest

from tests.bundles import run
from tests.end_to_end.conftest import tune_app
from tests.end_to_end.invariants import check, outcome
from tune_app.experiment.record import read_entries

SPACE = """
space:
  level: {choice: [scratch, fit]}
  lr: {loguniform: [0.01, 1]}
  momentum: {choice: [0, 0.9], when: {level: [fit]}}
search: {num_samples: 13, max_epochs: 3, results_per_epoch: 2, seed: 1}
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


IN_PROCESS = ("search", "space.yaml", "--in-process", "--data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_data) -> Path:
    """A folder in which a search with each sampler has run without an interruption."""
    folder: Path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("space.yaml").write_text(SPACE)
        for sampler in ("random", "tpe"):
            done = run(*IN_PROCESS, small_data, "--name", sampler, "--sampler", sampler)
            assert done.exit_code == 0, done.stderr
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
        ("kept", 3, "random", "result 2", [1, 2, 3]),
        # Its entry is being written: the line is torn.
        ("half a line", 3, "tpe", "result 2", [1, 2, 3]),
        # Its entry is written; the older state is still there, and nobody has heard of the decision.
        ("result", 3, "random", "result 3", [1, 2, 3]),
        # Its entry says that the trial stops, but not yet that it has ended.
        ("stop", 2, "tpe", "result 2", None),
        # The end is written; the sampler has not heard of it.
        ("ended", 12, "tpe", "ended", None),
        # The config is in the record; no worker has heard of it.
        ("asked", 12, "tpe", "asked", None),
    ],
)
def test_killed_between_two_steps_a_search_goes_on_as_if_it_had_not_been(
    tmp_path, monkeypatch, small_data, whole, point, n, sampler, last, states
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(SPACE)
    script = [sys.executable, "-c", KILLED, point, str(n)]
    killed = tune_app(tmp_path, *IN_PROCESS, small_data, "--name", "x", "--sampler", sampler, command=script)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    root = tmp_path / "experiments" / "x"
    written = list(read_entries(root / "record.jsonl"))
    assert f"{written[-1]['kind']} {written[-1].get('k', '')}".strip() == last
    assert (point != "half a line") == (root / "record.jsonl").read_bytes().endswith(b"\n")
    if states:
        assert [int(path.stem.split("-")[1]) for path in sorted(root.rglob("*.safetensors"))] == states
    resumed = run("resume", "x", "--in-process")
    assert resumed.exit_code == 0, resumed.stderr
    check(tmp_path, "x")
    assert outcome(tmp_path, "x") == outcome(whole, sampler)
    assert list(read_entries(root / "record.jsonl"))[: len(written)] == written
