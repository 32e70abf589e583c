"""A search without Ray, driven through random histories: workers are lost, trials raise, the process is killed in
the middle of whatever it writes, files rot. Whatever happens, what the record says must hold.

The machine plays three parts. The bridge: it asks, starts, judges and reports in the order in which Tune does.
The workers: values are a function of config, seed and k, so that what is computed again comes out the same. And
fate: it decides after how many writes the process is gone, and what of the last one reached the disk.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from safetensors.numpy import save

from tests.end_to_end.invariants import check_decisions, outcome
from tests.made_up import WORKER, play, spec_of
from tune_app.engine.search import Search
from tune_app.experiment import record as record_module
from tune_app.experiment.history import History, replay
from tune_app.experiment.record import Entry
from tune_app.experiment.settings import Settings
from tune_app.experiment.spec import Paths, Spec
from tune_app.experiment.states import read_state
from tune_app.storage.load import load_experiment
from tune_app.storage.mirroring import needed
from tune_app.task.result import Result

SPACES: list[dict[str, Any]] = [
    {"level": "linear", "lr": {"loguniform": [0.01, 1]}},
    {"level": {"choice": ["linear", "cnn"]}, "lr": {"loguniform": [0.01, 1]}},
    {"level": {"grid": ["linear", "cnn"]}, "lr": {"grid": [0.1, 0.5]}},
]
SPEC = spec_of("x")
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ERRORS = ["ValueError: no 1", "ValueError: no 2", "OSError: gone"]
LAST = st.sampled_from(["nothing", "half", "all"])
"""What of the last write before a kill is on the disk."""


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """When the process is killed, what of its last write is on disk, and which files are not what was kept."""

    left: float = math.inf
    """Writes that it still gets done."""
    last: str = "nothing"
    """How much of the last one: nothing, half of it, or all, but nobody was told so."""
    acknowledged: bytearray = field(default_factory=bytearray)
    damaged: set[str] = field(default_factory=set)

    def strikes(self) -> bool:
        """Whether the process does not survive what it is about to write."""
        self.left -= 1
        return self.left < 0


fate = Fate()


class Os:
    """The record's `os`: the disk of a process that may be killed while it writes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, line: bytes) -> int:
        if fate.strikes():
            os.write(descriptor, line[: {"nothing": 0, "half": len(line) // 2, "all": len(line)}[fate.last]])
            raise Killed
        fate.acknowledged += line
        return os.write(descriptor, line)

    def fsync(self, descriptor: int) -> None:
        """Nothing: what this would guard against is that power fails, and costs most of the time."""


class Disk(PosixPath):
    """A path on the same disk, for what is written beside the record."""

    def write_bytes(self, data: bytes) -> int:  # type: ignore[override]
        if fate.strikes():
            if fate.last != "nothing":
                super().write_bytes(data if fate.last == "all" else data[: len(data) // 2])
            raise Killed
        return super().write_bytes(data)

    def rename(self, target: "Disk") -> "Disk":  # type: ignore[override]
        struck = fate.strikes()
        if not struck or fate.last == "all":
            fate.damaged.discard(target.name)
            super().rename(target)
        if struck:
            raise Killed
        return target

    def unlink(self, missing_ok: bool = False) -> None:
        struck = fate.strikes()
        if not struck or fate.last == "all":
            super().unlink(missing_ok)
        if struck:
            raise Killed


@dataclass
class Run:
    """What a worker is doing: an attempt at a trial, that has come to result k."""

    k: int
    started: bool = False


def state_of(seed: int, k: int) -> bytes:
    """A training state: what it is the state of."""
    return save({"model.seed_and_k": np.array([seed, k])})


class Histories(RuleBasedStateMachine):
    """Random histories of one experiment each."""

    search: Search | None = None
    seen: History
    sound = False
    """Whether all that was done so far was found right."""

    @initialize(
        space=st.sampled_from(SPACES),
        settings=st.fixed_dictionaries(
            {
                "num_samples": st.integers(2, 7),
                "max_epochs": st.integers(1, 5),
                "results_per_epoch": st.integers(1, 2),
                "grace_period": st.sampled_from([1, 0.5]),
                "reduction_factor": st.sampled_from([2, 3]),
                "metric": st.sampled_from(["valid_accuracy", "valid_loss"]),
                "early_stopping": st.sampled_from([True, True, True, False]),
                "scheduler": st.sampled_from(["promotion", "promotion", "stopping"]),
                "max_failures": st.integers(0, 2),
                "sampler": st.sampled_from(["random", "random", "random", "tpe"]),
                "seed": st.integers(0, 999),
            }
        ),
        at_once=st.integers(1, 3),
        values=st.sampled_from([2, 5, 1000]),
        every=st.sampled_from([1, 1, 2, 3]),
    )
    def create(
        self, space: dict[str, Any], settings: dict[str, Any], at_once: int, values: int, every: int
    ) -> None:
        """Begin a search.

        values: how many there are, so that some trials are equally good. every: results per state that is kept.
        """
        fate.__init__()  # type: ignore[misc]
        self.folder = Path(tempfile.mkdtemp(prefix="histories-", dir=MEMORY))
        self.paths = Paths(Disk(self.folder / "x"))
        self.at_once, self.values, self.every = at_once, values, every
        self.live: dict[int, Run] = {}
        self.entries: list[Entry] = []
        self.read = 0
        self.leftover: set[tuple[int, int]] = set()
        spec = SPEC.model_copy(update={"space": space, "settings": Settings(**settings)})
        self.search = Search.create(spec, self.paths)
        self.search.begin()
        self.attempts: set[tuple[int, int]] = set()

    # What a process does.

    @contextmanager
    def process(self) -> Iterator[Search]:
        """A process at work: it may not survive what it does in the block."""
        self.sound = False
        assert self.search is not None
        try:
            yield self.search
        except Killed:
            self.gone()

    def gone(self) -> None:
        """Its workers are gone with it, and its lock."""
        if self.search is not None:
            self.search.close()
        self.search = None
        self.live.clear()
        fate.left = math.inf
        self.leftover |= self.kept()
        content = Path(self.paths.record).read_bytes()
        assert content.startswith(fate.acknowledged)
        fate.acknowledged[:] = content[: content.rfind(b"\n") + 1]  # a line that is whole stays, whoever knew of it

    @property
    def works(self) -> bool:
        """Whether a process is searching."""
        return self.search is not None

    @property
    def begun(self) -> bool:
        """Whether there is an experiment."""
        return hasattr(self, "paths")

    def ask(self) -> None:
        """Give workers something to do: each goes on from the last state that is as it was kept."""
        search = self.search
        assert search is not None
        while len(self.live) < self.at_once and search.ready:
            begun, paused = search.history.at_work - set(self.live), set(search.history.paused)
            attempt = search.next_attempt()
            trial = attempt.trial
            assert trial.number in (begun or {*paused, len(search.history.trials) - 1})
            assert attempt.after == self.last_kept(trial.number)
            expected = state_of(trial.seed, attempt.after) if attempt.after else None
            assert attempt.state == expected
            assert (trial.number, attempt.number) not in self.attempts
            self.attempts.add((trial.number, attempt.number))
            self.live[trial.number] = Run(attempt.after)

    def step(self, number: int) -> None:
        """A worker begins, or reports: what comes out is judged, written and carried out."""
        search, run = self.search, self.live[number]
        assert search is not None
        if not run.started:
            search.started(number, WORKER)
            run.started = True
            return
        result = self.train(number, run.k + 1)
        decision = search.judge(number, result)
        trial = search.history.trials[number]
        state = None if (result.k - 1) % self.every else state_of(trial.seed, result.k)
        search.add_result(number, result, state, decision)
        run.k += 1
        self.leftover -= {(number, k) for k in range(run.k)}
        needed = {one.k for one in trial.resumable}
        assert decision.stop or run.k not in needed or self.is_whole(number, run.k)
        if decision.stop:
            del self.live[number]

    def steps(self, which: int, times: int) -> None:
        """The worker `which` steps so many times, or its successors."""
        for _ in range(times):
            self.ask()
            if self.live:
                self.step(self.pick(which))

    def steps_to_the_end(self) -> None:
        """All workers step in turns until nothing is left to do."""
        self.ask()
        while self.live:
            for number in list(self.live):
                self.step(number)
            self.ask()

    @precondition(lambda self: self.works)
    @rule(which=st.integers(0, 2), times=st.integers(1, 6))
    def work(self, which: int, times: int) -> None:
        """A worker reports results."""
        with self.process():
            self.steps(which, times)

    @precondition(lambda self: self.works)
    @rule(
        which=st.integers(0, 2),
        times=st.integers(0, 6),
        rot=st.booleans(),
        left=st.sampled_from([math.inf, 0, 1]),
        last=LAST,
    )
    def lose(self, which: int, times: int, rot: bool, left: float, last: str) -> None:
        """A worker dies after some results, or before it has begun, perhaps with all states of its trial; the
        process perhaps when it writes that."""
        with self.process() as search:
            self.steps(which, times)
            self.ask()
            if self.live:
                number = self.pick(which)
                if rot:
                    self.harm([state for state in self.kept() if state[0] == number], "emptied")
                fate.left, fate.last = left, last
                search.lost(number, "its worker died", "text")
                del self.live[number]
        fate.left = math.inf

    @precondition(lambda self: self.works)
    @rule(which=st.integers(0, 2), times=st.integers(0, 4), error=st.sampled_from(ERRORS))
    def fail(self, which: int, times: int, error: str) -> None:
        """A trial raises an exception after some results."""
        with self.process() as search:
            self.steps(which, times)
            if self.live:
                number = self.pick(which)
                search.failed(number, f"Traceback:\n  line 1\n{error}\n")
                del self.live[number]

    @precondition(lambda self: self.works)
    @rule(which=st.integers(0, 2), times=st.integers(0, 6))
    def interrupt(self, which: int, times: int) -> None:
        """Ctrl-C after some results."""
        with self.process() as search:
            self.steps(which, times)
            search.end("interrupted")
            self.gone()

    @precondition(lambda self: self.works)
    @rule(left=st.integers(0, 30), last=LAST)
    def kill(self, left: int, last: str) -> None:
        """The process is killed at a write to come."""
        fate.left, fate.last = left, last
        with self.process():
            self.steps_to_the_end()
        fate.left = math.inf

    @precondition(lambda self: not self.works)
    @rule(more=st.sampled_from([0, 0, 1]), left=st.sampled_from([math.inf, math.inf, 0, 1, 2, 3]), last=LAST)
    def resume(self, more: int, left: float, last: str) -> None:
        """Another process goes on, perhaps with more trials than there were to be; it may be killed at once."""
        num_samples = self.seen.spec.settings.num_samples + more
        fate.left, fate.last = left, last
        self.sound = False
        try:
            self.search = Search.resume(self.paths, {"num_samples": num_samples} if more else None)
            self.attempts.clear()
            self.search.begin()
        except Killed:
            self.gone()
        fate.left = math.inf

    @precondition(lambda self: self.begun and self.kept())
    @rule(which=st.integers(0, 9), how=st.sampled_from(["deleted", "emptied", "changed"]), others=st.booleans())
    def damage(self, which: int, how: str, others: bool) -> None:
        """A kept state is lost or damaged, or all of that trial."""
        kept = sorted(self.kept())
        chosen = kept[which % len(kept)]
        self.harm([state for state in kept if state == chosen or (others and state[0] == chosen[0])], how)

    def harm(self, states: list[tuple[int, int]], how: str) -> None:
        for trial, k in states:
            path = Path(self.paths.state(trial, k))
            fate.damaged.add(path.name)
            if how == "deleted":
                path.unlink()
            else:
                path.write_bytes(b"" if how == "emptied" else b"?" + path.read_bytes()[1:])

    # What must hold.

    @invariant()
    def the_record_holds(self) -> None:
        if not self.begun:
            return
        self.follow()
        check_decisions(self.entries)
        self.check_trials()
        self.check_states()
        seen = self.seen
        best = min((r for r in self.results() if r["state"]), key=self.rank, default=None)
        assert seen.best == (Result.read(best) if best else None)
        if self.search is not None:
            live = self.search.history
            assert (seen.trials, seen.best) == (live.trials, live.best)
            assert dict(seen.rungs) == {family: rungs for family, rungs in live.rungs.items() if rungs}
            assert seen.spec == live.spec
            assert set(self.live) <= {trial.number for trial in live.trials if not trial.ended}
        self.sound = True

    def teardown(self) -> None:
        """Let everything run to its end, and look at all of it once more."""
        try:
            if self.sound:
                self.run_to_the_end()
        finally:
            if self.search is not None:
                self.search.close()
            if self.begun:
                shutil.rmtree(self.folder)

    def run_to_the_end(self) -> None:
        fate.left = math.inf
        if self.search is None:
            self.search = Search.resume(self.paths)
            self.attempts.clear()
            self.search.begin()
        self.steps_to_the_end()
        self.search.end("completed")
        self.search.close()
        self.search = None
        self.leftover.clear()
        self.the_record_holds()
        experiment = load_experiment("x", self.folder)
        assert (experiment.state, experiment.held) == ("finished", False)
        assert experiment.history == self.seen
        ended = [e["trial"] for e in self.entries if e["kind"] == "ended"]
        assert sorted(ended) == list(range(self.num_trials))
        assert all(trial.ended for trial in experiment.history.trials)
        assert [path.suffix for path in self.paths.root.rglob("*") if path.is_file()].count(".part") == 0

    def follow(self) -> None:
        """Read what is new in the record: what was acknowledged is there, byte for byte."""
        content = Path(self.paths.record).read_bytes()
        assert content.startswith(fate.acknowledged)
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole[self.read :].splitlines():
            entry = json.loads(line)
            del entry["crc"]
            assert entry["n"] == len(self.entries)
            if self.entries:
                self.seen.apply(entry)
            else:
                self.seen = History(Spec.model_validate(entry["spec"]), entry["time"])
            self.entries.append(entry)
        self.read = len(whole)
        if self.search is not None:
            assert content == whole
            fate.acknowledged[:] = content

    def check_trials(self) -> None:
        """Trials, attempts and results have no gap and no repetition; a trial has one end, and nothing after it."""
        settings = self.entries[0]["spec"]["settings"]
        told: list[defaultdict[str, list[Entry]]] = []
        for e in self.entries:
            if e["kind"] in ("created", "search"):
                continue
            if e["kind"] == "asked":
                told.append(defaultdict(list))
            trial = told[e["trial"]]
            decision = trial["result"][-1]["decision"] if trial["result"] else "continue"
            pauses = decision == "pause" and trial["result"][-1]["k"] not in {p["k"] for p in trial["promoted"]}
            stop = decision == "stop" or pauses
            assert not trial["ended"], "something happened to a trial that had ended"
            allowed = {"ended", "promoted"} if pauses else {"ended"}
            assert not stop or e["kind"] in allowed, "a trial goes on that was to stop"
            match e["kind"]:
                case "asked":
                    assert e["trial"] == len(told) - 1
                case "started":
                    assert e["attempt"] == len(trial["started"])
                    assert len(trial["lost"]) <= settings["max_failures"]
                case "result":
                    assert e["k"] == len(trial["result"]) + 1
                    assert e["attempt"] == len(trial["started"]) - 1
                case "ended":
                    at_the_end = stop and trial["result"][-1]["epoch"] >= settings["max_epochs"]
                    assert e["state"] == ("completed" if at_the_end else "stopped" if stop else "failed")
                    too_often = len(trial["lost"]) > settings["max_failures"]
                    assert too_often == e["reason"].startswith("lost")
            trial[e["kind"]].append(e)
        assert len(told) <= self.num_trials

    def check_states(self) -> None:
        """The states that are kept are those that are needed, and the best result's is as it was kept."""
        best = min((r for r in self.results() if r["state"]), key=self.rank, default=None)
        needed = {(best["trial"], best["k"])} if best else set()
        for number, trial in enumerate(self.seen.trials):
            if not trial.ended:
                needed |= {(number, k) for k in self.with_states(number)[-1 if trial.state == "paused" else -2 :]}
        assert self.kept() - self.leftover <= needed
        if best is not None and self.is_whole(best["trial"], best["k"]):
            state = self.paths.state(best["trial"], best["k"]).read_bytes()
            assert hashlib.sha256(state).hexdigest() == best["state"]

    # What it is looked at with.

    def pick(self, which: int) -> int:
        return list(self.live)[which % len(self.live)]

    def results(self) -> list[Entry]:
        return [e for e in self.entries if e["kind"] == "result"]

    @property
    def num_trials(self) -> int:
        if any("grid" in domain for domain in self.entries[0]["spec"]["space"].values()):
            return 4
        extended = [e["settings"]["num_samples"] for e in self.entries if e.get("event") == "extended"]
        return int([self.entries[0]["spec"]["settings"]["num_samples"], *extended][-1])

    def rank(self, result: Entry) -> tuple[float, ...]:
        """By the metric; of equals the one with fewer epochs, then fewer parameters, then the lower number."""
        metric = self.entries[0]["spec"]["settings"]["metric"]
        value = result["valid"][metric] * (1 if metric == "valid_loss" else -1)
        return value, result["epoch"], result["parameters"], result["trial"]

    def kept(self) -> set[tuple[int, int]]:
        """The states that are there, as trial and k."""
        names = (path.stem.split("-") for path in Path(self.paths.states).glob("*.safetensors"))
        return {(int(trial), int(k)) for trial, k in names}

    def last_kept(self, number: int) -> int:
        """The later of a trial's last two kept states that is as it was kept, or 0."""
        there = [k for k in self.with_states(number)[-2:] if self.paths.state(number, k).exists()]
        return next((k for k in reversed(there) if self.is_whole(number, k)), 0)

    def with_states(self, number: int) -> list[int]:
        """The results of a trial whose states were kept."""
        history = self.search.history if self.search else self.seen
        return [result.k for result in history.trials[number].results if result.state]

    def is_whole(self, trial: int, k: int) -> bool:
        """Whether nothing has befallen a state since it was kept."""
        return self.paths.state(trial, k).name not in fate.damaged

    def train(self, number: int, k: int) -> Result:
        """What a worker reports: a function of config, seed and k."""
        assert self.search is not None
        trial = self.search.history.trials[number]
        luck = zlib.crc32(f"{trial.config} {trial.seed} {k}".encode())
        value = luck % self.values / self.values
        return Result(
            k=k,
            epoch=k / self.search.spec.settings.results_per_epoch,
            valid={"valid_accuracy": value, "valid_loss": 1 - value},
            train_loss=math.nan if luck >> 16 & 31 == 0 else 1 - value,
            items=100,
            train_seconds=0.2,
            valid_seconds=0.1,
            parameters=1000 + trial.seed % 2,
        )


def test_whatever_happens_to_a_search_what_its_record_says_holds(monkeypatch, pytestconfig) -> None:
    monkeypatch.setattr(record_module, "os", Os())
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=pytestconfig.getoption("histories"),
            stateful_step_count=10,
            phases=[phase for phase in Phase if phase is not Phase.explain],
            suppress_health_check=list(HealthCheck),
        ),
    )


KINDS = {"random": "stopping", "tpe": "promotion"}
"""Of schedulers, by sampler."""


def search_out(at: Paths, sampler: str) -> None:
    """Begin a search or go on with it, to its end."""
    spec = spec_of("x", SPACES[1], num_samples=14, max_epochs=3, sampler=sampler, scheduler=KINDS[sampler])
    search = Search.resume(at) if Path(at.record).exists() else Search.create(spec, at)
    try:
        search.begin()
        play(search, lambda trial, k: zlib.crc32(f"{trial.config} {trial.seed} {k}".encode()) % 1000 / 1000)
        search.end("completed")
    finally:
        search.close()


@pytest.mark.parametrize("last", ["nothing", "half", "all"])
@pytest.mark.parametrize("sampler", KINDS)
def test_killed_between_two_steps_a_search_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, last: str
) -> None:
    """Killed at each of its writes; with real trainings and kills: tests/end_to_end/test_resume.py."""
    monkeypatch.setattr(record_module, "os", Os())
    fate.__init__(1000, last)  # type: ignore[misc]
    search_out(Paths(Disk(tmp_path / "whole" / "experiments" / "x")), sampler)
    whole, writes = outcome(tmp_path / "whole", "x"), 1000 - int(fate.left)
    assert {"stopped", "completed"} == {told[2] for told in whole if told[0] == "ended"}
    for left in range(1, writes):  # the first write begins the record: without it there is no search
        at = Paths(Disk(tmp_path / str(left) / "experiments" / "x"))
        fate.__init__(left, last)  # type: ignore[misc]
        with pytest.raises(Killed):
            search_out(at, sampler)
        acknowledged = bytes(fate.acknowledged)
        for result in needed(replay(at.record)).values():
            read_state(at, result)  # is there, as it was kept
        fate.left = math.inf
        search_out(at, sampler)
        assert at.record.read_bytes().startswith(acknowledged)
        assert outcome(tmp_path / str(left), "x") == whole
