"""A search without Ray: ask for trials, judge results, keep states, and write down each of these first.

What Tune does is told here (by `bridge.py`), and what is decided here is written to the record before Tune
acts on it. The order at a result: decide, keep the state, write result and decision, act.
"""

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import safetensors.numpy
from safetensors import SafetensorError

from tune_app.engine.asha import Decision, best_of, why
from tune_app.engine.hopeless import OUT_OF_MEMORY, all_failed_alike, no_memory
from tune_app.engine.strategy import Sampled, Strategy
from tune_app.errors import TuneAppError
from tune_app.experiment.history import WHOLE, History, replay
from tune_app.experiment.record import FORMAT, RecordWriter
from tune_app.experiment.spec import Paths, Spec
from tune_app.experiment.states import States, read_state, sha256
from tune_app.experiment.trial import COMPLETED, FAILED, STOPPED, Trial
from tune_app.machine import versions
from tune_app.task.failure import in_one_line
from tune_app.task.result import Result


@dataclass(frozen=True)
class Attempt:
    """Work for a worker: a trial, up to `epochs`, from its result `after` on, whose `state` is given.

    `number` differs from attempt to attempt, also where a worker dies before it has begun.
    """

    trial: Trial
    number: int
    epochs: float
    after: int
    state: bytes | None


class Search:
    """One search that is going on: its history in memory and its record on disk."""

    def __init__(self, record: RecordWriter, history: History, paths: Paths, strategy: Strategy) -> None:
        self.record, self.history, self.paths, self.strategy = record, history, paths, strategy
        self.spec = history.spec
        self.broken: TuneAppError | None = None
        self.spoiled = False
        """Whether a trial has written to the data of all."""
        self.hopeless = False
        """Whether the first trials all failed alike: so would the others."""
        self.killed: list[int] = []
        """The trials whose workers were killed for want of memory, each as often as that happened here."""
        self.states = States(paths)
        self.waiting = sorted(history.at_work)
        """Trials that were begun, to go on with before any other is begun."""

    @classmethod
    def create(cls, spec: Spec, paths: Paths, strategy: Callable[[History], Strategy] = Sampled) -> Self:
        """Begin an experiment; `TuneAppError` if there is one of that name."""
        record = RecordWriter.create(paths.record)
        now = time.time()
        try:
            record.append({"kind": "created", "format": FORMAT, "time": now, "spec": spec.model_dump()})
            history = History(spec, now)
            return cls(record, history, paths, strategy(history))
        except BaseException:
            record.close()
            shutil.rmtree(paths.root)
            raise

    @classmethod
    def resume(
        cls,
        paths: Paths,
        extension: Mapping[str, object] | None = None,
        strategy: Callable[[History], Strategy] = Sampled,
    ) -> Self:
        """Go on with an experiment, with other settings where it is extended.

        Raises `TuneAppError` if its record is damaged or someone is searching it.
        """
        record = RecordWriter.open(paths.record)
        try:
            history = replay(paths.record)
            if extension:
                what = {"event": "extended", "settings": dict(extension)}
                history.apply(record.append({"kind": "search", "time": time.time(), **what}))
            return cls(record, history, paths, strategy(history))
        except BaseException:
            record.close()
            raise

    def write(self, kind: str, **what: Any) -> None:
        """Write an entry, then let the history take it in."""
        with self.writing():
            entry = self.record.append({"kind": kind, "time": time.time(), **what})
        self.history.apply(entry)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep the reason why nothing can be written: Tune passes on no exception but its own."""
        try:
            yield
        except TuneAppError as error:
            self.broken = error
            raise

    def begin(self) -> None:
        """Write that this process is searching, and the ends that were decided but not written before."""
        others = {"versions": versions()} if versions() != self.spec.versions else {}
        self.write("search", event="started", host=platform.node(), pid=os.getpid(), **others)
        for number in list(self.waiting):
            results = self.history.trials[number].results
            if (results and self.end_if_decided(results[-1])) or self.end_if_lost_too_often(number):
                self.waiting.remove(number)
        for number in range(len(self.history.trials)):  # a process that was killed may not have come to it
            self.remove_states(number)

    def end(self, reason: str) -> None:
        """Write why the search ended: completed, target, patience, time budget, interrupted or error.

        Where nothing is left to do, nobody will promote the trials that paused.
        """
        if reason in WHOLE:
            for number in list(self.history.paused):
                self.leave(number)
        self.write("search", event="ended", reason=reason)

    def leave(self, number: int) -> None:
        """Write the end of a trial that paused and was not promoted."""
        trial = self.history.trials[number]
        at = self.history.rungs[trial.family][self.history.paused[number]]
        best = best_of(at, self.spec.settings.reduction_factor)
        if any(result.trial == number for result in best):
            self.ended(number, STOPPED, f"the search ended before it was promoted from rung {at[0].rung:g}")
            return
        cutoff = self.history.metric.value(best[-1]) if best else None
        self.ended(number, STOPPED, why(self.history.metric, trial.results[-1], cutoff, len(at) - 1))

    def close(self) -> None:
        """Let go of the record."""
        self.record.close()

    @property
    def num_trials(self) -> int:
        """How many trials there will be, at most."""
        return self.strategy.num_trials

    def remove_states(self, number: int) -> None:
        """Remove the states of a trial that nobody needs any more."""
        needed = {result.k for result in self.history.trials[number].resumable}
        if kept := self.history.kept(number):
            needed.add(kept.k)
        with self.writing():
            self.states.keep_only(number, needed)

    @property
    def ready(self) -> bool:
        """Whether a trial can begin, or go on, now."""
        return bool(self.waiting) or self.strategy.ready or self.strategy.promotable is not None

    @property
    def all_begun(self) -> bool:
        """Whether no trial can begin or go on, now or later."""
        return not self.waiting and self.strategy.all_begun

    def next_attempt(self) -> Attempt:
        """The next work: a trial that was interrupted or is promoted, from its last state, or a new one."""
        if self.waiting:
            trial = self.history.trials[self.waiting.pop(0)]
        elif result := self.strategy.promotable:
            trial = self.promoted(result)
        else:
            trial = self.ask()
        after, state = self.last_state(trial)
        return Attempt(trial, len(trial.attempts) + trial.losses, self.strategy.epochs(trial), after, state)

    def last_state(self, trial: Trial) -> tuple[int, bytes | None]:
        """The last result whose state is still there as it was kept; 0 where there is none."""
        for result in reversed(trial.resumable):
            try:
                state = read_state(self.paths, result)
                safetensors.numpy.load(state)
                return result.k, state
            except (TuneAppError, SafetensorError):  # lost with the power: the one before will do, or the start
                continue
        return 0, None

    def promoted(self, result: Result) -> Trial:
        """The paused trial of this result, from now on at work again."""
        trial = self.history.trials[result.trial]
        at = self.history.rungs[trial.family][self.history.paused[trial.number]]
        best = best_of(at, self.spec.settings.reduction_factor) or at[:1]
        cutoff = self.history.metric.value(best[-1])
        self.write("promoted", trial=trial.number, k=result.k, rung=result.rung, cutoff=cutoff, of=len(at))
        return trial

    def ask(self) -> Trial:
        """The next trial: its config is in the record before anyone trains it."""
        number = len(self.history.trials)
        config, seed = self.strategy.propose()
        self.write("asked", trial=number, config=config, seed=seed)
        return self.history.trials[number]

    def started(self, number: int, worker: Mapping[str, Any]) -> None:
        """A worker has begun with a trial."""
        self.write("started", trial=number, attempt=len(self.history.trials[number].attempts), **worker)

    def judge(self, number: int, result: Result) -> Decision:
        """Whether the trial goes on after this result. Changes nothing."""
        if result.diverged:
            return Decision("stop")
        trial = self.history.trials[number]
        if result.k <= len(trial.results):  # computed again from an earlier state: it has been judged
            return Decision()
        return self.strategy.decide(trial, result)

    def add_result(self, number: int, result: Result, state: bytes | memoryview | None, decision: Decision) -> None:
        """Keep the state if there is one, write the result with what was decided, and the end if it is one."""
        if result.diverged:
            self.ended(number, FAILED, f"diverged: {result.diverged} was not finite at epoch {result.epoch:g}")
            return
        trial = self.history.trials[number]
        if result.k <= len(trial.results):
            self.compare(trial.results[result.k - 1], result)
            self.keep_again(trial.results[result.k - 1], state)
            return
        if state is not None:
            with self.writing():
                self.states.put(number, result.k, state)
        judged = replace(
            result,
            trial=number,
            attempt=len(trial.attempts) - 1,
            state="" if state is None else sha256(state),
            decision=decision.action,
            rung=decision.rung,
            cutoff=decision.cutoff,
            compared=decision.compared,
        )
        led = self.history.best
        self.write("result", **judged.content)
        self.remove_states(number)
        if led and led is not self.history.best and led.trial != number:
            self.remove_states(led.trial)
        self.end_if_decided(trial.results[-1])

    def compare(self, recorded: Result, again: Result) -> None:
        """Write down the first result of a trial that was computed again and came out otherwise."""
        number = recorded.trial
        pairs = {name: (recorded.valid.get(name), value) for name, value in again.valid.items()}
        pairs["train_loss"] = recorded.train_loss, again.train_loss
        other = next(((name, *pair) for name, pair in pairs.items() if len(set(pair)) > 1), None)
        if other and self.history.trials[number].otherwise is None:
            self.write("otherwise", trial=number, k=recorded.k, epoch=recorded.epoch, value=other)

    def keep_again(self, recorded: Result, state: bytes | memoryview | None) -> None:
        """Replace a lost state by the same one, computed again, if it is needed."""
        if state is not None and sha256(state) == recorded.state:
            with self.writing():
                self.states.put(recorded.trial, recorded.k, state)
        self.remove_states(recorded.trial)

    def end_if_decided(self, result: Result) -> bool:
        """Write the end of a trial whose last result decided it."""
        if result.decision != "stop":
            return False
        epochs = self.strategy.epochs(self.history.trials[result.trial])
        if result.epoch >= epochs:
            at_most = epochs == self.spec.settings.max_epochs
            self.ended(result.trial, COMPLETED, "reached max_epochs" if at_most else f"reached epoch {epochs:g}")
        else:
            self.ended(result.trial, STOPPED, why(self.history.metric, result, result.cutoff, result.compared))
        return True

    def lost(self, number: int, reason: str, traceback: str) -> None:
        """A trial's worker died or hung: it is the next to be tried again, but not for ever."""
        self.write("lost", trial=number, reason=reason, traceback=traceback)
        if reason == OUT_OF_MEMORY:
            self.killed.append(number)
            self.hopeless = self.hopeless or no_memory(self.history.trials, self.killed)
        if not self.end_if_lost_too_often(number):
            self.waiting.insert(0, number)

    def end_if_lost_too_often(self, number: int) -> bool:
        """Write the end of a trial that lost its worker too often."""
        trial = self.history.trials[number]
        if trial.losses <= self.spec.settings.max_failures:
            return False
        times = "" if trial.losses == 1 else f" {trial.losses} times, the last time"
        last = trial.last_loss
        self.ended(number, FAILED, f"lost{times}: {last['reason']}", last["traceback"])
        return True

    def failed(self, number: int, traceback: str, data_changed: bool = False) -> None:
        """A trial ended with an exception. data_changed: what other trials find is not to be trusted any more."""
        self.ended(number, FAILED, f"error: {in_one_line(traceback)}"[:300], traceback)
        self.spoiled = self.spoiled or data_changed
        self.hopeless = all_failed_alike(self.history.trials)

    def ended(self, number: int, state: str, reason: str, traceback: str | None = None) -> None:
        """Write the end of a trial."""
        self.write("ended", trial=number, state=state, reason=reason, traceback=traceback)
        self.remove_states(number)
