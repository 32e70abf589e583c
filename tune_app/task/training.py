"""Train one config of a task, one result after the other, from the start or from a kept state.

The outcome is a function of the task, config, seed and data alone (and of torch's version, its thread count and
the CPU model, which round differently): a training that goes on from a kept state gives the results it would have
given.
"""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from tune_app.task.execution import Functions
from tune_app.task.failure import DataChanged
from tune_app.task.loop import measure, state
from tune_app.task.loop.build import build
from tune_app.task.loop.data import checksum
from tune_app.task.loop.fit import train
from tune_app.task.loop.lesson import Lesson
from tune_app.task.result import Result
from tune_app.task.task import Config

MOST_WATCHING, MOST_KEEPING = 0.05, 0.08
"""Of the time of a training; with the state at its end, keeping takes a tenth."""
SMALL_STATE = 10_000_000
"""Bytes up to which a state is kept at each result."""
BYTES_PER_PARAMETER, BYTES_PER_SECOND = 12, 200_000_000
"""Of a state before one was kept: of each float32 two moments as well, and as fast as slow disks write."""


class Watched:
    """The data that the trials of a process share with those of others: a level must not write to them.

    They are looked at where an attempt may end, so that no other is blamed, and else as often as that takes a
    twentieth of the time.
    """

    def __init__(self, data: Any) -> None:
        self.data, self.before = data, checksum(data)
        self.begun, self.seconds = time.perf_counter(), 0.0

    def look(self, level: str, may_end: bool) -> None:
        """Raise `DataChanged` where they are no longer what they were. may_end: whether the attempt may end now."""
        now = time.perf_counter()
        if not may_end and self.seconds > (now - self.begun) * MOST_WATCHING:
            return
        if checksum(self.data) != self.before:
            raise DataChanged(
                f"level {level} writes to the data that load returned and all trials share;"
                " allowed: to a copy, such as x.clone()"
            )
        self.seconds += time.perf_counter() - now


@dataclass(frozen=True)
class Training:
    """A training that decides all its results.

    epochs: of the whole training, for schedules; it may end before. data: what the task's `load` returned.
    judged: the numbers of the results after which it may end. watched: the data, if they are others' too.
    """

    functions: Functions
    config: Config
    data: Any
    seed: int
    epochs: int
    results_per_epoch: int
    device: str = "cpu"
    judged: Collection[int] = ()
    watched: Watched | None = None

    def lesson(self, saved: bytes | None = None) -> Lesson:
        """Build what is trained with, and put a state into it; `ValueError` where that does not come back equal."""
        numbers = {name: value for name, value in self.config.items() if name != "level"}
        level = self.functions.levels[str(self.config["level"])]
        lesson = build(level, self.data, numbers, epochs=self.epochs, seed=self.seed, device=self.device)
        if saved is not None:
            state.check_round_trip(lesson, saved)
        return lesson

    def results(
        self, until: float, after: int = 0, saved: bytes | None = None
    ) -> Iterator[tuple[Result, bytes | None]]:
        """Train up to epoch `until`, from the state `saved` at result `after` on; each result with its state.

        A large state costs seconds until the next result is asked for. Besides those of `judged` results and of the
        last, so many are given as take 8 % of the time at most; the others are None. The last is that of an
        ended training, which does not go on.
        Raises what the task raises, and `ValueError` or `TypeError` where a lesson does what it must not.
        """
        kept_at, cost = time.perf_counter(), 0.0
        lesson = self.lesson(saved)
        del saved  # a large one is not held for long
        for measured in train(
            lesson,
            until,
            seed=self.seed,
            metrics=self.functions.metrics,
            results_per_epoch=self.results_per_epoch,
            after=after,
            device=self.device,
        ):
            result = Result(**vars(measured))
            last = result.epoch >= until
            needed = last or result.k in self.judged
            if self.watched:
                self.watched.look(str(self.config["level"]), may_end=needed or bool(result.diverged))
            now, size = time.perf_counter(), result.parameters * BYTES_PER_PARAMETER
            cost = cost or size / BYTES_PER_SECOND
            too_soon = (now - kept_at) * MOST_KEEPING < cost or result.k + 1 in self.judged
            if size > SMALL_STATE and not needed and too_soon:
                yield result, None
                continue
            yield result, state.save(lesson, ended=last)
            kept_at = time.perf_counter()
            cost = kept_at - now

    def evaluated(self, saved: bytes) -> measure.Evaluation:
        """Evaluate a state on the valid part of the data."""
        lesson = self.lesson()
        state.load(lesson, saved, ended=True)  # no round trip: what is for a GPU alone has another state here
        return measure.evaluate(lesson, self.functions.metrics, self.device, intervals=True)
