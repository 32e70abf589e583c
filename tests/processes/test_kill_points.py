"""Killed exactly between any two steps, a search goes on to the outcome of an uninterrupted one.

Without Ray, which has no part in what is judged, kept and written: test_resume.py kills searches on it.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import run
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
import json, os, signal, sys
import optuna, pandas, pyarrow.parquet, torch._dynamo  # what a search imports, once for all
import tune_app.api, tune_app.driver, tune_app.engine.in_process, tune_app.task.loop.fit
from tune_app.cli import main
from tune_app.experiment.record import RecordWriter, encode
from tune_app.experiment.states import States
from tune_app.engine.search import Search


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
    if point == entry["kind"] or point in ("stop", "pause") and entry.get("decision") == point:
        passed()


def half_a_line(self, entry):
    global left
    if entry["kind"] == "result":
        left -= 1
        if left == 0:
            line = encode({"n": self.n, **entry})
            os.write(self.descriptor, line[: len(line) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


def search(arguments):
    match point:
        case "judged":
            patched(Search, "add_result", before=lambda *_: passed())
        case "kept":
            patched(States, "put", after=lambda *_: passed())
        case "half a line":
            patched(RecordWriter, "append", before=half_a_line)
        case _:
            patched(RecordWriter, "append", after=lambda _self, entry: at(entry))
    main(arguments)


for point, left, folder, arguments in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        search(arguments)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
KILLS = [
    # A result was judged; nothing is kept or written of it.
    ("judged", 3, "random", "result 2", [1, 2]),
    # Its state is kept, but the record does not know of the result.
    ("kept", 3, "random", "result 2", [1, 2, 3]),
    # Its entry is being written: the line is torn.
    ("half a line", 3, "random", "result 2", [1, 2, 3]),
    # Its entry is written; the older state is still there, and nobody has heard of the decision.
    ("result", 3, "random", "result 3", [1, 2, 3]),
    # Its entry says that the trial stops, but not yet that it has ended.
    ("stop", 2, "random", "result 2", None),
    # Its entry says that the trial pauses; no worker has another.
    ("pause", 3, "tpe", "result 2", None),
    # A paused trial is to go on; no worker has heard of it.
    ("promoted", 2, "tpe", "promoted 2", None),
    # One of those that were left is written to have ended.
    ("ended", 12, "tpe", "ended", None),
    # The config is in the record; no worker has heard of it.
    ("asked", 12, "tpe", "asked", None),
]
"""The point, how often it is passed, the sampler, what is in the record last, and the states that there are."""
SCHEDULER = {"random": "stopping", "tpe": "promotion"}
"""By sampler."""
IN_PROCESS = ("search", "space.yaml", "--in-process", "--data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_data) -> Path:
    """A folder in which a search with each sampler has run without an interruption."""
    folder: Path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("space.yaml").write_text(SPACE)
        for sampler in ("random", "tpe"):
            done = run(
                *IN_PROCESS, small_data, "--name", sampler, "--sampler", sampler, "--scheduler", SCHEDULER[sampler]
            )
            assert done.exit_code == 0, done.stderr
            check(folder, sampler)
            told = outcome(folder, sampler)
            assert {"stopped", "completed"} == {what[2] for what in told if what[0] == "ended"}
    assert outcome(folder, "random") != outcome(folder, "tpe")  # whose first ten are random, too
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory, small_data) -> Path:
    """A folder with one for each of the kills, which all came from one process that had imported everything."""
    folder: Path = tmp_path_factory.mktemp("killed")
    cases = []
    for point, n, sampler, *_ in KILLS:
        (folder / point).mkdir()
        (folder / point / "space.yaml").write_text(SPACE)
        options = ["--name", "x", "--sampler", sampler, "--scheduler", SCHEDULER[sampler]]
        arguments = [*IN_PROCESS, str(small_data), *options]
        cases.append((point, n, str(folder / point), arguments))
    script = [sys.executable, "-c", KILLED]
    done = subprocess.run(script, input=json.dumps(cases), capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(KILLS), done.stderr
    return folder


@pytest.mark.parametrize(("point", "sampler", "last", "states"), [(point, *rest) for point, _, *rest in KILLS])
def test_killed_between_two_steps_a_search_goes_on_as_if_it_had_not_been(
    monkeypatch, killed, whole, point, sampler, last, states
) -> None:
    folder = killed / point
    monkeypatch.chdir(folder)
    root = folder / "experiments" / "x"
    written = list(read_entries(root / "record.jsonl"))
    assert f"{written[-1]['kind']} {written[-1].get('k', '')}".strip() == last
    assert (point != "half a line") == (root / "record.jsonl").read_bytes().endswith(b"\n")
    if states:
        assert [int(path.stem.split("-")[1]) for path in sorted(root.rglob("*.safetensors"))] == states
    resumed = run("resume", "x", "--in-process")
    assert resumed.exit_code == 0, resumed.stderr
    check(folder, "x")
    assert outcome(folder, "x") == outcome(whole, sampler)
    assert list(read_entries(root / "record.jsonl"))[: len(written)] == written
