"""Records of made-up searches, written by the real `Search`, without Ray."""

import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from tune_app.engine.asha import Decision
from tune_app.engine.search import Search
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.record import Entry, encode, read_entries
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import load_space
from tune_app.experiment.spec import DataSource, Paths, Spec
from tune_app.experiment.trial import Trial
from tune_app.machine import versions
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task.result import Result
from tune_app.task.tutorial import tutorial

WORKER = {"node": "here", "pid": 1, "cpu": "a CPU", "threads": 1, "device": "cpu"}
SCRIPT = "<script>window.hacked = 1</script>"


def spec_of(name: str, space: dict[str, Any] | None = None, **settings: Any) -> Spec:
    return Spec(
        name=name,
        task=tutorial(),
        space=space or {"level": {"choice": ["linear", "cnn"]}, "lr": {"loguniform": [0.01, 1]}},
        settings=Settings(
            **{"sampler": "random", "scheduler": "stopping", "max_epochs": 9, "results_per_epoch": 1, **settings}
        ),
        data=DataSource(source=None, digest="d", train=50_000, valid=10_000),
        versions=versions(),
    )


def result_of(k: int, value: float, results_per_epoch: int = 1, **more: Any) -> Result:
    """A result with this accuracy, and the loss that goes with it; `more`: other fields."""
    made = Result(
        k=k,
        epoch=k / results_per_epoch,
        valid={"valid_accuracy": value, "valid_loss": 1 - value},
        train_loss=1 - value,
        items=50_000 // results_per_epoch,
        train_seconds=0.2,
        valid_seconds=0.1,
        parameters=7850,
    )
    return replace(made, **more)


def diverged(k: int, results_per_epoch: int = 1) -> Result:
    return result_of(k, 0.1, results_per_epoch, train_loss=math.nan)


def state_of(result: Result) -> bytes:
    """As the loop writes it, of a model with one parameter."""
    value = result.valid.get("valid_accuracy", 0.0)
    document = {"model": {"dict": [["weights", {"tensor": "model.weights"}]]}}
    return save({"model.weights": np.full(3, value)}, {"state": json.dumps(document)})


def tell(search: Search, number: int, result: Result, state: bytes | None = None) -> Decision:
    """A worker reports: what comes out is judged and written."""
    decision = search.judge(number, result)
    search.add_result(number, result, state or state_of(result), decision)
    return decision


def ask_and_start(search: Search, worker: dict[str, Any] = WORKER) -> int:
    number = search.ask().number
    search.started(number, worker)
    return number


def give_one(search: Search, number: int, k: int, value: float) -> None:
    tell(search, number, result_of(k, value))


def give(search: Search, number: int, *values: float) -> None:
    """Results of a trial one after the other, until it is stopped or there are no more values."""
    for k, value in enumerate(values, 1):
        if tell(search, number, result_of(k, value)).stop:
            return


def play(
    search: Search,
    value: Callable[[Trial, int], float | Result],
    most: int | None = None,
    state: bytes | None = None,
) -> None:
    """Run what there is to run one after the other, at most so many attempts, with these values or results."""
    while not search.all_begun and most != 0:
        assert search.ready
        attempt = search.next_attempt()
        search.started(attempt.trial.number, WORKER)
        for k in range(attempt.after + 1, int(attempt.epochs) + 1):
            found = value(attempt.trial, k)
            result = found if isinstance(found, Result) else result_of(k, found)
            if tell(search, attempt.trial.number, result, state).stop:
                break
        most = None if most is None else most - 1


def rewrite(record: Path, change: Callable[[Entry], object]) -> None:
    """Change each entry of a record as somebody can who computes the checksums anew."""
    entries = list(read_entries(record))
    for entry in entries:
        change(entry)
    record.write_bytes(b"".join(map(encode, entries)))


def resumed(at: Paths, extension: dict[str, Any] | None = None) -> Search:
    """A search that another process goes on with."""
    search = Search.resume(at, extension)
    search.begin()
    return search


@contextmanager
def searching(
    folder: Path, name: str, space: dict[str, Any] | None = None, end: str | None = None, **settings: Any
) -> Iterator[Search]:
    """A search that has begun; after the block it ends for that reason, if there is one, and is let go."""
    search = Search.create(spec_of(name, space, **settings), paths(folder, name))
    search.begin()
    yield search
    if end:
        search.end(end)
    search.close()


def tutorial_search(folder: Path, name: str, trials: int, **settings: Any) -> Search:
    """A search of all levels that has not ended: its curves rise by learning rate and family.

    One trial in thirty diverges, one raises an exception whose text is a script, one loses a worker.
    """
    space = Path(__file__).parent / "simulations" / "levels.yaml"
    source = load_space(space, {"num_samples": trials, "sampler": "random", **settings})
    spec = spec_of(name, source.content, **source.settings.model_dump())
    search = Search.create(spec, paths(folder, name))
    search.begin()
    luck = random.Random(0)
    for number in range(trials):
        trial = search.history.trials[search.ask().number]
        search.started(number, {**WORKER, "pid": 1 + number % 2})
        fate = number % 30
        if fate == 27:
            search.lost(number, "its worker died", SCRIPT)
            search.waiting.clear()
            search.started(number, {**WORKER, "pid": 3 + number})
        if fate == 28:
            search.failed(number, f"Traceback\nValueError: {SCRIPT}")
            continue
        per_epoch = source.settings.results_per_epoch
        best = (0.97 if trial.family == "cnn" else 0.92) - 0.05 * abs(math.log10(float(trial.config["lr"])) + 0.7)
        for k in range(1, source.settings.max_epochs * per_epoch + 1):
            value = round(best - 0.4 / (k + 1) + luck.uniform(-0.01, 0.01), 4)
            result = diverged(k, per_epoch) if fate == 29 and k > 3 else result_of(k, value, per_epoch)
            if tell(search, number, result).stop:
                break
    return search


def tutorial_experiment(folder: Path, name: str, trials: int, **settings: Any) -> Experiment:
    """The same, which has ended."""
    search = tutorial_search(folder, name, trials, **settings)
    search.end("completed")
    search.close()
    return load_experiment(name, folder)
