"""Whole searches on measured learning curves: what a space and its settings find, without training."""

import heapq
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from tests.made_up import WORKER, result_of, tell
from tests.simulations.curves import Curve, nearest
from tune_app.engine.search import Attempt, Search
from tune_app.experiment.history import History
from tune_app.experiment.space import load_space
from tune_app.experiment.spec import DataSource, Spec
from tune_app.experiment.trial import STOPPED
from tune_app.machine import versions
from tune_app.storage.location import paths
from tune_app.task.tutorial import tutorial

DATA = DataSource(source=None, digest="d", train=50_000, valid=10_000)
PARAMETERS = {"logistic": 7_850, "cnn": 3_930}


@dataclass(order=True)
class Step:
    """The next result of a trial that a worker trains."""

    time: float
    order: int
    attempt: Attempt
    curve: Curve
    k: int


def simulate(folder: Path, curves: list[Curve], workers: int = 2, **settings: object) -> History:
    """Search the space of the curves: each config takes the values and the time of the nearest one."""
    source = load_space(Path(__file__).with_name("levels.yaml"), settings)
    spec = Spec(
        name="x",
        task=source.task,
        space=source.content,
        settings=source.settings,
        data=DATA,
        versions=versions(),
    )
    search = Search.create(spec, paths(folder, "x"))
    search.begin()
    steps: list[Step] = []
    order = count()

    def begin(now: float) -> None:
        """Give every worker something to do, if there is something."""
        while len(steps) < workers and search.ready:
            attempt = search.next_attempt()
            search.started(attempt.trial.number, WORKER)
            curve = nearest(curves, tutorial().level(attempt.trial.config["level"]).family, attempt.trial.config)
            heapq.heappush(steps, Step(now + curve.seconds, next(order), attempt, curve, attempt.after + 1))

    begin(0.0)
    while steps:
        step = heapq.heappop(steps)
        trial = step.attempt.trial
        result = result_of(
            step.k,
            float(step.curve.accuracy[step.k - 1]),
            source.settings.results_per_epoch,
            parameters=PARAMETERS[step.curve.family],
        )
        if tell(search, trial.number, result).stop:
            begin(step.time)
        else:
            heapq.heappush(
                steps, Step(step.time + step.curve.seconds, step.order, step.attempt, step.curve, step.k + 1)
            )
    search.end("completed")
    search.close()
    return search.history


@pytest.mark.parametrize("seed", range(5))
def test_a_default_search_ends_with_a_cnn_though_the_logistic_levels_lead_at_first(tmp_path, curves, seed) -> None:
    history = simulate(tmp_path, curves, seed=seed)
    assert history.best is not None
    assert history.trials[history.best.trial].family == "cnn"
    assert history.best.valid["valid_accuracy"] > 0.94
    assert history.count(STOPPED) >= len(history.trials) / 2
    # At the first rung most CNNs are behind: one ladder for both families would stop them.
    values = {family: map(history.metric.value, rungs[1]) for family, rungs in history.rungs.items()}
    first = {family: median(at) for family, at in values.items()}
    assert first["cnn"] < first["logistic"]
