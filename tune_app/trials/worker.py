"""What runs in a worker: the tutorial's loop as Ray Tune calls a trainable. One call of `train` is one result."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypedDict

import ray

from tune_app.errors import TuneAppError
from tune_app.machine import cpu_model, seconds_running
from tune_app.task.levels import Config, config_words

if TYPE_CHECKING:  # torch takes a second to import, and only workers need it
    from tune_app.task.training import Result
    from tune_app.task.tutorial.mnist import Mnist


class Work(TypedDict):
    """What a worker needs for one attempt at a trial.

    `data` and `state` refer to the object store: a `Mnist`, and the training state at result `after` (None: begin).
    """

    trial: int
    metric: str
    config: Config
    seed: int
    max_epochs: float
    results_per_epoch: int
    threads: int
    gpu: bool
    data: Any
    after: int
    state: Any


class Report(dict[str, Any]):
    """What a worker returns. Tune writes each out, for logs that are not kept: so without all its arrays."""

    def __repr__(self) -> str:
        """No more than what it is."""
        return type(self).__name__


class TutorialTrial:
    """One worker process: it trains one config after the other, so torch is imported once.

    Tune calls `train`, `reset` and `stop` as it does those of its own `Trainable`, with the arguments that
    `controller.Workers` gives them. That is not imported: it brings pandas and Ray Data into each worker, 0.4 s and
    100 MB.
    """

    def __init__(self, work: Work) -> None:
        """Take the first trial, and get torch ready."""
        from tune_app.task import training  # noqa: F401

        self.mnist: Mnist | None = None
        self.start_seconds = seconds_running()
        self.waiting_since = time.perf_counter()
        self.take(work)

    def reset(self, work: Work) -> bool:
        """Take another trial in this process. Returns True: Tune asks whether that could be done."""
        self.take(work)
        return True

    def take(self, work: Work) -> None:
        """Note what to do. It begins with the first step: what hangs or fails there belongs to the trial."""
        import torch

        torch.set_num_threads(work["threads"])
        self.device = torch.device("cuda" if work["gpu"] else "cpu")
        self.work: Work | None = work
        self.name, self.metric, self.config = f"trial {work['trial']}", work["metric"], config_words(work["config"])

    def begin(self, work: Work) -> None:
        """Build the model, from scratch or from a state."""
        import torch

        from tune_app.task import training

        if work["gpu"] and not torch.cuda.is_available():
            raise TuneAppError("Ray offers a GPU that torch cannot use; allowed: --gpus-per-trial 0")
        if self.mnist is None:
            self.mnist = ray.get(work["data"])
        self.lesson = training.prepare(work["config"], self.mnist, work["seed"], self.device)
        self.parameters = training.count_parameters(self.lesson)
        if work["state"] is not None:
            training.load_state(self.lesson, ray.get(work["state"]))
        self.results: Iterator[Result] = training.fit(
            self.lesson, work["max_epochs"], work["results_per_epoch"], work["after"]
        )

    def train(self) -> Report:
        """The next result, and the state to go on from (`state`, arrays by name)."""
        from tune_app.task import training

        begun = time.perf_counter()
        waited = begun - self.waiting_since
        if self.work is not None:
            self.begin(self.work)
            self.work = None
        started = time.perf_counter()
        result = next(self.results)
        self.waiting_since = time.perf_counter()
        values = asdict(result)
        said = f"{self.name}, epoch {result.epoch:g}: {values[self.metric]:.4f}; {self.config}"
        print(said, file=sys.stderr, flush=True)  # this worker's log, which its page in the dashboard shows
        return Report(
            **values,
            diverged=result.diverged,
            parameters=self.parameters,
            start_seconds=started - begun,
            wait_seconds=waited,
            state=training.state(self.lesson),
        )

    def describe(self) -> dict[str, Any]:
        """Where this worker runs, and what its float32 results depend on."""
        import torch

        return {
            "node": platform.node(),
            "pid": os.getpid(),
            "cpu": cpu_model(),
            "threads": torch.get_num_threads(),
            "device": self.device.type,
            "start_seconds": self.start_seconds,
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES") if self.device.type == "cuda" else None,
        }

    def stop(self) -> None:
        """There is nothing to clear up; Tune calls it before it ends the process."""

    def __repr__(self) -> str:
        """How the Ray dashboard shows this worker."""
        return "tune_app worker"
