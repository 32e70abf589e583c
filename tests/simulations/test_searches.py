"""Whole searches on measured learning curves: what a space and its settings find, without training."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.made_up import result_of, spec_of
from tests.simulations.curves import nearest, simulated
from tests.simulations.search_time import WAYS, searched, tutorial
from tune_app.engine.search import Attempt, Search
from tune_app.experiment.history import History
from tune_app.experiment.space import load_space
from tune_app.experiment.trial import STOPPED
from tune_app.storage.location import paths
from tune_app.task.result import Result

PARAMETERS = {"logistic": 7_850, "cnn": 3_930}


def simulate(folder: Path, workers: int = 2, **settings: object) -> History:
    """Search the space of the curves: each config takes the values and the time of the nearest one."""
    source = load_space(Path(__file__).with_name("levels.yaml"), settings)
    spec = spec_of("x", source.content, **source.settings.model_dump())
    search = Search.create(spec, paths(folder, "x"))
    search.begin()

    def train(attempt: Attempt) -> tuple[Iterator[Result], float]:
        trial, per_epoch = attempt.trial, source.settings.results_per_epoch
        curve = nearest(trial.family, trial.config)
        values = enumerate(map(float, curve.accuracy[attempt.after :]), attempt.after + 1)
        own = {"parameters": PARAMETERS[trial.family], "trial": trial.number}
        return (result_of(k, value, per_epoch, **own) for k, value in values), curve.seconds

    assert list(simulated(search, workers, train))
    search.end("completed")
    search.close()
    return search.history


@pytest.mark.parametrize("seed", range(5))
def test_a_default_search_ends_with_a_cnn_though_the_logistic_levels_lead_at_first(tmp_path, seed) -> None:
    history = simulate(tmp_path, seed=seed)
    assert history.best is not None
    assert history.trials[history.best.trial].family == "cnn"
    assert history.best.valid["valid_accuracy"] > 0.94
    assert history.count(STOPPED) >= len(history.trials) / 2
    # At the first rung most CNNs are behind: one ladder for both families would stop them.
    values = {family: map(history.metric.value, rungs[1]) for family, rungs in history.rungs.items()}
    first = {family: median(at) for family, at in values.items()}
    assert first["cnn"] < first["logistic"]


def test_no_way_of_searching_with_tpe_is_a_random_one() -> None:
    curves = tutorial()
    found = {name: searched(curves, 8, 25, 0, way) for name, way in WAYS.items()}
    at_random = found.pop("random, stopping")
    assert len(found) == 2 and at_random not in found.values()
