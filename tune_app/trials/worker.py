"""A worker: the loop of a training as a trainable of Ray Tune. One step is one message to the driver."""

import math
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.tune import Trainable

from tune_app.cluster.ray_private import ends_this_process
from tune_app.errors import TuneAppError
from tune_app.machine import process
from tune_app.task.failure import DataChanged
from tune_app.task.result import Result
from tune_app.task.task import Config, config_words

WORK, MESSAGE = "work", "message"
"""The only keys of what Tune hands to a worker, and of what it takes back."""
SECONDS_TOGETHER = 0.25
"""So long a worker goes on by itself where only one answer is possible: each message costs the driver some time."""


@dataclass(frozen=True)
class Work:
    """All that a worker needs for one attempt at a trial.

    epochs: of a whole training, of which this one may be a part. `task`, `data` and `state` refer to the object
    store: the declaration, what its `load` returned, and the training state at result `after` (None: begin).
    """

    trial: int
    metric: str
    config: Config
    seed: int
    until: float
    epochs: int
    results_per_epoch: int
    judged: list[int]
    threads: int
    gpu: bool
    task: Any
    data: Any
    after: int
    state: Any


@dataclass(frozen=True)
class Started:
    """A worker has begun with an attempt: where it runs, and what its float32 results depend on."""

    worker: dict[str, Any]


@dataclass(frozen=True, repr=False)
class Trained:
    """A result, and the training state if it is to be kept. Tune writes messages out, so this one has no words."""

    result: Result
    state: NDArray[np.uint8] | None
    """An array of its bytes: Ray does not copy those on their way."""


@dataclass(frozen=True)
class Failed:
    """An exception ended the attempt. The next step raises, so that this process ends: it may have been damaged."""

    traceback: str
    data_changed: bool
    """Whether it wrote to the data of all trials."""


class TrialWorker(Trainable):
    """One process that trains one config after the other, so that Python and torch start once.

    Nearly all that may fail happens in a step, so it is told as a message.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first attempt."""
        with suppress(BaseException):  # a first step fails in the same way, and tells of it
            from tune_app.task import training  # noqa: F401
        self.shared: Any = None
        """The task, its data, and who watches them."""
        self.result_seconds = math.inf
        """The time that the last result took, of this attempt or the one before."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another attempt in this process. Returns True: Tune asks whether that could be done."""
        self.work: Work = new_config[WORK]
        self.messages = self.attempt(self.work)
        self.failed = False
        self.config: dict[str, Any] = {}  # Tune would send it back with each message
        return True

    def train_buffered(self, _seconds: float, _length: int = 1000) -> list[dict[str, Any]]:
        """Several messages for the driver at once: up to one at which the attempt may end, within a short time.

        Tune's own method goes by time alone, and would train beyond a rung.
        """
        since = time.perf_counter()
        told: list[dict[str, Any]] = []
        while not told or (
            not self.may_end(told[-1][MESSAGE])
            and time.perf_counter() - since + self.result_seconds < SECONDS_TOGETHER
        ):
            told.append(self.train())  # type: ignore[no-untyped-call]
        return told

    def may_end(self, message: Started | Trained | Failed) -> bool:
        """Whether the driver may end the attempt at this message."""
        if isinstance(message, Trained):
            result = message.result
            return bool(result.k in self.work.judged or result.epoch >= self.work.until or result.diverged)
        return isinstance(message, Failed)

    def step(self) -> dict[str, Any]:
        """The next message. An exception is one, too: Ray reports workers that are lost or cannot be made."""
        if self.failed:
            raise RuntimeError("the attempt has failed")
        try:
            message = next(self.messages)
            if isinstance(message, Trained):
                self.result_seconds = message.result.train_seconds + message.result.valid_seconds
            return {MESSAGE: message}
        except BaseException as error:  # sys.exit() in a training ends the trial, not the search
            if isinstance(error, SystemExit) and ends_this_process(error):
                raise
            self.failed = True
            return {MESSAGE: Failed(traceback.format_exc(), isinstance(error, DataChanged))}

    def attempt(self, work: Work) -> Iterator[Started | Trained]:
        """Train from scratch or from a state: who does it, then one result after the other."""
        import torch

        from tune_app.task.execution import functions
        from tune_app.task.training import Training, Watched

        torch.set_num_threads(work.threads)
        device = "cuda" if work.gpu else "cpu"
        yield Started(process(device, torch.get_num_threads()))
        if work.gpu and not torch.cuda.is_available():
            raise TuneAppError("Ray offers a GPU that torch cannot use; allowed: --gpus-per-trial 0")
        if self.shared is None:
            task, data = ray.get([work.task, work.data])
            self.shared = task, data, Watched(data) if task.files else None
        task, data, watched = self.shared
        words = config_words(work.config)
        with functions(task) as its:
            training = Training(
                its,
                work.config,
                data,
                work.seed,
                work.epochs,
                work.results_per_epoch,
                device,
                work.judged,
                watched,
            )
            saved = None if work.state is None else ray.get(work.state).tobytes()
            results = training.results(work.until, work.after, saved)
            del saved  # as soon as it is in the lesson, a large one needs no memory
            for result, state in results:
                said = f"trial {work.trial}, epoch {result.epoch:g}: {result.valid[work.metric]:.4f}; {words}"
                print(said, file=sys.stderr, flush=True)  # this worker's log, which its page in the dashboard shows
                yield Trained(result, None if state is None else np.frombuffer(state, np.uint8))

    def __repr__(self) -> str:
        """How the Ray dashboard shows this worker."""
        return "tune_app worker"
