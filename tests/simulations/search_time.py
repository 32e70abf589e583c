"""How long ways of searching take to a good config, simulated on measured learning curves.

    python -m tests.simulations.search_time [--seeds N] [--curves mlp|tutorial] [--workers N]

A search proposes configs of its own, so an extra-trees regression over the measured configs stands for training: it
gives a config's curve and its seconds. Searches are the real `Search`; Optuna's ways are its own ask and tell.
"""

import argparse
import heapq
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pyarrow.parquet as pq
from numpy.typing import NDArray
from optuna.trial import TrialState
from sklearn.ensemble import ExtraTreesRegressor

from tests.made_up import spec_of
from tests.simulations.curves import read_curves, simulated
from tune_app.engine.sampler import is_constant, suggest
from tune_app.engine.search import Attempt, Search
from tune_app.experiment.space import SpaceSource, load_space
from tune_app.experiment.spec import Paths, Spec
from tune_app.task.result import Result
from tune_app.task.task import Config

HERE = Path(__file__).parent
Best = list[tuple[float, float]]
"""The seconds at which a search got better, and how good it was then."""


@dataclass(frozen=True)
class Curves:
    """A space, and the curve of any config of it: the metric after each result, and the seconds of one."""

    source: SpaceSource
    of: Callable[[Config], tuple[NDArray[np.float64], float]]
    times: dict[int, tuple[float, ...]]
    """By the number of workers, the seconds after which searches are compared."""


def features(config: Config) -> list[float]:
    """A config of either space as numbers."""
    lr, bs = math.log(float(config["lr"])), math.log(float(config["bs"]))
    momentum = float(config.get("momentum", -1))
    numbers = [lr, bs, momentum, lr - bs, lr - math.log(1 - max(0.0, momentum))]
    if "opt" not in config:
        return numbers
    numbers += [float(config["layers"]), math.log(float(config["hidden"])), float(config["dropout"])]
    numbers.append(math.log(float(config["weight_decay"])))
    numbers += [float(config["opt"] == name) for name in ("sgd", "adam", "rmsprop")]
    return numbers + [float(config["act"] == name) for name in ("relu", "tanh", "sigmoid")]


def regression(configs: list[Config], curves: list[NDArray[np.float64]], seconds: list[float]) -> Any:
    """A function from a config to its curve and the seconds of a result."""
    x = np.array([features(config) for config in configs])
    accuracy = np.clip(curves, 1e-3, 1 - 1e-3)
    y = np.column_stack([np.log(accuracy / (1 - accuracy)), np.log(seconds)])
    forest = ExtraTreesRegressor(n_estimators=50, random_state=0).fit(x, y)

    def of(config: Config) -> tuple[NDArray[np.float64], float]:
        (found,) = forest.predict([features(config)])
        return 1 / (1 + np.exp(-found[:-1])), math.exp(found[-1])

    return of


@cache
def mlp() -> Curves:
    """The MLP of mlp.py: eight dimensions."""
    rows = pq.read_table(HERE / "mlp_curves.parquet").to_pylist()
    configs = [{k: v for k, v in row.items() if v is not None and k not in ("seed", "seconds")} for row in rows]
    for config in configs:
        if config["opt"] != "sgd":
            config.pop("momentum", None)
    curves = [np.array(row["valid_accuracy"]) for row in rows]
    of = regression(configs, curves, [row["seconds"] / 27 for row in rows])
    return Curves(load_space(HERE / "mlp.yaml"), of, {2: (10, 20, 40, 60), 16: (2, 4, 6, 8)})


@cache
def tutorial() -> Curves:
    """The tutorial's levels: three dimensions, a family each for the CNN and the logistic regression."""
    families: dict[str, Any] = {}
    for family in ("cnn", "logistic"):
        some = [curve for curve in read_curves() if curve.family == family]
        configs: list[Config] = [{"lr": c.lr, "bs": c.bs, "momentum": c.momentum} for c in some]
        families[family] = regression(configs, [c.accuracy for c in some], [c.seconds for c in some])
    source = load_space(HERE / "levels.yaml")

    def of(config: Config) -> tuple[NDArray[np.float64], float]:
        curve, seconds = families[source.task.level(str(config["level"])).family]({"momentum": 0.0, **config})
        return curve, seconds

    return Curves(source, of, {2: (20, 40, 80, 120), 8: (10, 20, 40, 60)})


def searched(curves: Curves, workers: int, until: float, seed: int, way: dict[str, str]) -> Best:
    """The bests of a search of our own within so many seconds."""
    settings = curves.source.settings.model_dump() | {"num_samples": 100_000, "seed": seed, **way}
    spec = spec_of("x", curves.source.content, **settings).model_copy(update={"task": curves.source.task})
    metric = spec.metric.name
    found: Best = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        search = Search.create(spec, Paths(Path(folder, "x")))
        search.begin()

        def train(attempt: Attempt) -> tuple[Iterator[Result], float]:
            curve, seconds = curves.of(attempt.trial.config)
            return results(spec, attempt.trial.number, curve, attempt.after), seconds

        for now, result in simulated(search, workers, train, until, STATE):
            if not found or result.valid[metric] > found[-1][1]:
                found.append((now, result.valid[metric]))
        search.close()
    return found


STATE = bytes.fromhex("0800000000000000") + b"{}      "


def results(spec: Spec, number: int, curve: NDArray[np.float64], after: int) -> Iterator[Result]:
    """The results of a trial that goes on after one of them."""
    for k, value in enumerate(map(float, curve), 1):
        if k > after:
            found = {spec.metric.name: value}
            yield Result(k, k / spec.settings.results_per_epoch, found, 1 - value, 1, 0.1, 0.1, 1, trial=number)


def optuna_searched(curves: Curves, workers: int, until: float, seed: int, pruner: Any) -> Best:
    """The bests of Optuna's TPE with one of its own pruners."""
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner()
    )
    space, settings = curves.source.space, curves.source.settings
    last = settings.max_epochs * settings.results_per_epoch
    work: dict[int, tuple[optuna.Trial, NDArray[np.float64], float, int]] = {}
    steps, found = [(0.0, worker) for worker in range(workers)], [(0.0, 0.0)]
    while steps[0][0] < until:
        now, worker = heapq.heappop(steps)
        if worker not in work:
            trial, config = study.ask(), dict[str, Any]()
            for d in space.dimensions:
                if d.exists(config):
                    config[d.name] = d.values[0] if is_constant(d) else suggest(trial, d)
            work[worker] = (trial, *curves.of(space.task.complete(config)), 0)
        else:
            trial, curve, seconds, k = work[worker]
            value, k = float(curve[k]), k + 1
            trial.report(value, k)
            if value > found[-1][1]:
                found.append((now, value))
            if k == last or trial.should_prune():
                study.tell(trial, value if k == last else None, None if k == last else TrialState.PRUNED)
                del work[worker]
                heapq.heappush(steps, (now, worker))
                continue
            work[worker] = trial, curve, seconds, k
        heapq.heappush(steps, (now + work[worker][2], worker))
    return found


WAYS = {
    "random, stopping": {"sampler": "random", "scheduler": "stopping"},
    "TPE told by BOHB's rule, stopping": {"scheduler": "stopping"},
    "TPE told by BOHB's rule, promotion": {"scheduler": "promotion"},
}
"""Ways of our own: their settings."""
PRUNERS: dict[str, Callable[[], Any]] = {
    "Optuna: TPE, successive halving": lambda: optuna.pruners.SuccessiveHalvingPruner(1, 3),
    "Optuna: TPE, Hyperband": lambda: optuna.pruners.HyperbandPruner(1, 27, 3),
    "Optuna: TPE, default pruner": optuna.pruners.MedianPruner,
}


def best_at(found: Best, seconds: float) -> float:
    return max((value for time, value in found if time <= seconds), default=0.0)


def main() -> None:
    """Print a line for each way: the mean of the best after so many seconds, and its standard error."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--curves", choices=["mlp", "tutorial"], default="mlp")
    arguments.add_argument("--workers", type=int)
    arguments.add_argument("--way", default="", help="only the ways whose name contains this")
    given = arguments.parse_args()
    curves = {"mlp": mlp, "tutorial": tutorial}[given.curves]()
    for workers, times in curves.times.items():
        if given.workers not in (None, workers):
            continue
        print(f"{workers} workers, {given.seeds} seeds: after {', '.join(f'{t:g} s' for t in times)}")
        for name in [*WAYS, *(PRUNERS if given.curves == "mlp" else ())]:
            if given.way not in name:
                continue
            if name in WAYS:
                runs = [searched(curves, workers, times[-1], seed, WAYS[name]) for seed in range(given.seeds)]
            else:
                pruner = PRUNERS[name]
                runs = [optuna_searched(curves, workers, times[-1], seed, pruner) for seed in range(given.seeds)]
            values = [[best_at(run, t) for run in runs] for t in times]
            cells = (f"{mean(v):.4f} ({stdev(v) / len(v) ** 0.5:.4f})" for v in values)
            print(f"  {name:36}", *cells, flush=True)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with mock.patch.object(os, "fsync"):  # a disk is not simulated
        main()
