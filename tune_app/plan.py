"""A plan: how many trials would reach each rung, and how long that would take.

The search itself runs, in this process, with trials that train nothing: ASHA compares ranks alone, so each trial
has a random quality. What its results would take is measured, one training at a time on this machine, at each
corner of the space: the smallest and the largest models and batches of every level.
"""

import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice, product
from math import prod
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from tune_app.driver import check_batches
from tune_app.engine.asha import judged, rungs
from tune_app.engine.in_process import Train, run_in_process
from tune_app.engine.search import Attempt, Search
from tune_app.experiment.history import History
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SpaceSource
from tune_app.experiment.spec import DataSource, Paths, Spec
from tune_app.experiment.trial import COMPLETED
from tune_app.task.loading import Loaded, one_line
from tune_app.task.result import Result
from tune_app.task.task import Config, Task

if TYPE_CHECKING:
    from tune_app.task.execution import Functions

SAFE_LR = 0.01
"""A learning rate with which nothing diverges; it does not change the cost."""
RESULTS_PER_EPOCH = 20
"""The results per epoch of a measurement: so few images are enough."""
TRIALS, MOST_SEARCHES = 200, 10
"""The number of made-up trials in all, and the most searches that they belong to."""


@dataclass(frozen=True)
class Rung:
    """The mean number of trials of a family that reach an epoch; the last of a family is its end."""

    family: str
    epoch: float
    trials: float


@dataclass(frozen=True)
class Plan:
    """The means of some made-up searches.

    seconds: those of all results, shared by `at_once` workers that never wait. measured_seconds: of measuring.
    paused: the trials that pause and are not promoted. paused_bytes: their states on disk.
    """

    name: str
    trials: int
    at_once: int
    rungs: tuple[Rung, ...]
    epochs: float
    seconds: float
    measured_seconds: float
    paused: float
    paused_bytes: float


@dataclass(frozen=True)
class Cost:
    """Seconds of an epoch's training and of a validation, and the bytes of a state, at one corner of the space."""

    config: Config
    epoch: float
    validation: float
    state_bytes: int


def plan(source: SpaceSource, loaded: Loaded, at_once: int) -> Plan:
    """Plan the search of a space on these data, `at_once` trials at a time.

    Raises `TuneAppError` for batches that the search would refuse.
    """
    from tune_app.task.execution import functions

    settings = source.settings
    number = max(1, min(MOST_SEARCHES, TRIALS // source.num_trials))
    searches = [made_up_search(source, loaded, i) for i in range(number)]
    began = time.monotonic()
    drawn = [trial.config for history in searches for trial in history.trials]
    with one_line("a level"), functions(source.task) as its:
        costs = [measured(its, config, loaded, settings) for config in corners(drawn, source.task)]
    measured_seconds = time.monotonic() - began
    workers = min(at_once, source.num_trials)

    def seconds(history: History) -> float:
        per_epoch = settings.results_per_epoch
        return sum(
            seconds_of(trial.config, costs, trial.epoch, trial.epoch * per_epoch) for trial in history.trials
        )

    return Plan(
        name=source.name,
        trials=source.num_trials,
        at_once=workers,
        rungs=tuple(mean_rungs(searches, settings)),
        epochs=mean(sum(trial.epoch for trial in history.trials) for history in searches),
        seconds=mean(map(seconds, searches)) / workers,
        measured_seconds=measured_seconds,
        paused=(paused := mean(len(history.paused) for history in searches)),
        paused_bytes=paused * mean(cost.state_bytes for cost in costs),
    )


def made_up_search(source: SpaceSource, loaded: Loaded, number: int) -> History:
    """The history of a whole search whose trials train nothing; `number` tells one from another."""
    images = DataSource(source=None, digest=loaded.digest)
    endless = {"target": None, "time_budget": None}
    settings = source.settings.model_copy(update=endless)
    spec = Spec(name="made-up", task=source.task, space=source.content, settings=settings, data=images, versions={})
    check_batches(source, loaded.sizes)
    with tempfile.TemporaryDirectory(prefix="tune-") as folder:
        with closing(Search.create(spec, Paths(Path(folder, spec.name)))) as search:
            search.begin()
            run_in_process(search, made_up(source, number))
        return search.history


def made_up(source: SpaceSource, number: int) -> Train:
    """Train nothing: a trial has results only where it is judged, and each is as good as its random quality."""
    settings = source.settings

    def train(attempt: Attempt) -> Iterator[tuple[Result, bytes]]:
        quality = random.Random(f"{settings.seed}/{number}/{attempt.trial.number}").random()
        values = dict.fromkeys(source.task.metrics, quality)
        for k, at in enumerate(judged(settings), 1):
            if k > attempt.after:
                yield Result(k, at / settings.results_per_epoch, values, quality, 0, 0.0, 0.0, parameters=1), b""

    return train


def mean_rungs(searches: Sequence[History], settings: Settings) -> Iterator[Rung]:
    """The mean numbers of trials at each rung and at the end, by family, without those that nobody reaches."""
    for family in searches[0].spec.task.families:
        of_family = [[trial for trial in history.trials if trial.family == family] for history in searches]
        ends = [sum(trial.state == COMPLETED for trial in trials) for trials in of_family]
        for rung in rungs(settings):
            if reached := sum(len(history.rungs[family].get(rung, ())) for history in searches):
                yield Rung(family, rung, reached / len(searches))
        if any(ends):
            yield Rung(family, float(settings.max_epochs), mean(ends))


def corners(drawn: Sequence[Config], task: Task) -> list[Config]:
    """The configs to measure: of each level the smallest and the largest, with the smallest and largest batches."""
    found: list[Config] = []
    for level in task.levels:
        of_level = [config for config in drawn if config["level"] == level]
        if not of_level:
            continue
        sizes, batches = {size_of(config): config for config in of_level}, {bs_of(config) for config in of_level}
        for bs, size in product(*({min(ends), max(ends)} for ends in (batches, sizes))):
            safe: Config = {"lr": SAFE_LR, "bs": bs}
            found.append({name: safe.get(name, value) for name, value in sizes[size].items()})
    return found


def bs_of(config: Config) -> int:
    """The batch size, 1 where a config has none."""
    return int(config.get("bs", 1))


def size_of(config: Config) -> int:
    """The size of a model as far as a config tells: the product of all integers but the batch size."""
    return prod(max(1, v) for name, v in config.items() if type(v) is int and name != "bs")


def measured(its: "Functions", config: Config, loaded: Loaded, settings: Settings) -> Cost:
    """Train a part of an epoch on the CPU, with a trial's threads. Its first result warms up and does not count."""
    import torch

    from tune_app.task.training import Training

    torch.set_num_threads(settings.threads)
    training = Training(its, config, loaded.content, 0, max(2, settings.max_epochs), RESULTS_PER_EPOCH)
    parts = min(RESULTS_PER_EPOCH, len(training.lesson().train_dl))
    training = replace(training, results_per_epoch=parts, judged=[2])  # there a state is always kept
    *_, (result, state) = islice(training.results(2), 2)
    return Cost(config, result.train_seconds * parts, result.valid_seconds, len(state or b""))


def seconds_of(config: Config, costs: Sequence[Cost], epochs: float, validations: float) -> float:
    """Seconds of so many epochs and validations, between the corners of the config's level.

    Linear in the number of batches, 1/bs, which is exact, since a batch has a cost of its own; and in the size.
    """
    of_size: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for cost in costs:
        if cost.config["level"] == config["level"]:
            seconds = epochs * cost.epoch + validations * cost.validation
            of_size[size_of(cost.config)].append((1 / bs_of(cost.config), seconds))
    sizes = sorted(of_size)
    lines = (zip(*sorted(of_size[size]), strict=True) for size in sizes)
    values = [float(np.interp(1 / bs_of(config), x, y)) for x, y in lines]
    return float(np.interp(size_of(config), sizes, values))
