"""A search without Ray: ask for trials, judge results, keep states, and write down each of these first.

What Tune does is told here (by `bridge.py`), and what is decided here is written to the record before Tune
acts on it. The order at a result: decide, keep the state, write result and decision, act.
"""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tune_app.errors import TuneAppError
from tune_app.experiment.history import COMPLETED, FAILED, STOPPED, History, Trial
from tune_app.experiment.record import FORMAT, RecordWriter
from tune_app.experiment.spec import Paths, Spec
from tune_app.experiment.states import States
from tune_app.tuning.sampler import Sampler
from tune_app.tuning.scheduler import Decision, decide

MEASURED = [
    "k",
    "epoch",
    "valid_accuracy",
    "valid_loss",
    "train_loss",
    "images",
    "train_seconds",
    "valid_seconds",
    "wait_seconds",
    "parameters",
]
"""What the record takes over from a worker's result."""


class Search:
    """One search that is going on: its history in memory and its record on disk."""

    def __init__(self, spec: Spec, paths: Paths) -> None:
        self.spec, self.paths = spec, paths
        self.record = RecordWriter.create(paths.record)
        now = time.time()
        self.record.append({"kind": "created", "format": FORMAT, "time": now, "spec": spec.model_dump()})
        self.history = History(spec, now)
        self.broken: TuneAppError | None = None
        space = spec.search_space()
        self.sampler = Sampler(space, spec.settings)
        self.num_trials = len(self.sampler.grid) or spec.settings.num_samples
        paths.states.mkdir()
        self.states = States(paths)

    def write(self, kind: str, **what: Any) -> None:
        """Write an entry, then let the history take it in."""
        with self.noting_failure():
            entry = self.record.append({"kind": kind, "time": time.time(), **what})
        self.history.apply(entry)

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Keep the reason why nothing can be written: Tune passes on no exception but its own."""
        try:
            yield
        except TuneAppError as error:
            self.broken = error
            raise

    def begin(self) -> None:
        """Write that this process is searching."""
        self.write("search", event="started", host=platform.node(), pid=os.getpid())

    def end(self, reason: str) -> None:
        """Write why the search ended: completed, target, time budget, interrupted or error."""
        self.write("search", event="ended", reason=reason)

    def close(self) -> None:
        """Let go of the record."""
        self.record.close()

    @property
    def all_asked(self) -> bool:
        """Whether no trial is left to be proposed."""
        return len(self.history.trials) >= self.num_trials

    def ask(self) -> Trial:
        """The next trial: its config is in the record before anyone trains it."""
        started = time.perf_counter()
        number = len(self.history.trials)
        config = self.sampler.ask(number)
        seconds = time.perf_counter() - started
        self.write("asked", trial=number, config=config, seed=self.spec.trial_seed(number), ask_seconds=seconds)
        return self.history.trials[number]

    def started(self, number: int, worker: Mapping[str, Any]) -> None:
        """A worker has begun with a trial."""
        self.write("started", trial=number, attempt=0, **worker)

    def judge(self, number: int, result: Mapping[str, Any]) -> Decision:
        """Whether the trial goes on after this result. Changes nothing."""
        if result["diverged"]:
            return Decision(stop=True)
        settings, trial = self.spec.settings, self.history.trials[number]
        return decide(settings, result["epoch"], result[settings.metric], self.history.rungs[trial.family])

    def report(self, number: int, result: Mapping[str, Any], decision: Decision) -> None:
        """Keep the state and write the result with what was decided; write the end if it is one."""
        if result["diverged"]:
            self.ended(number, FAILED, f"diverged: a loss was not finite at epoch {result['epoch']:g}")
            return
        with self.noting_failure():
            self.states.put(number, result["k"], result["state"])
        self.write(
            "result",
            trial=number,
            attempt=0,
            **{name: result[name] for name in MEASURED},
            state=result["state_sha256"],
            decision="stop" if decision.stop else "continue",
            rung=decision.rung,
            cutoff=decision.cutoff,
            compared=decision.compared,
        )
        self.states.keep_only(number, (result["k"], result["k"] - 1, self.history.led.get(number)))
        if result["epoch"] >= self.spec.settings.max_epochs:
            self.ended(number, COMPLETED, "reached max_epochs")
        elif decision.stop:
            self.ended(number, STOPPED, why(self.spec.settings.metric, result, decision))

    def failed(self, number: int, traceback: str) -> None:
        """A trial ended with an exception or with its worker."""
        lines = [line.strip() for line in traceback.strip().splitlines() if line.strip()]
        self.ended(number, FAILED, f"error: {lines[-1] if lines else 'unknown'}"[:300], traceback)

    def ended(self, number: int, state: str, reason: str, traceback: str | None = None) -> None:
        """Write the end of a trial."""
        self.write("ended", trial=number, state=state, reason=reason, traceback=traceback)
        self.sampler.tell(self.history.trials[number])
        self.states.keep_only(number, (self.history.led.get(number),))


def why(metric: str, result: Mapping[str, Any], decision: Decision) -> str:
    """A stop in words: "epoch 0.75: 0.912 below the cutoff 0.934 of 11 trials at this rung"."""
    side = "below" if metric == "valid_accuracy" else "above"
    return (
        f"epoch {result['epoch']:g}: {result[metric]:.4g} {side} the cutoff {decision.cutoff:.4g}"
        f" of {decision.compared} trials at this rung"
    )
