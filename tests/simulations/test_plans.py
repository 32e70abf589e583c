"""Plans, held against default searches on measured curves."""

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from tests.simulations.test_searches import simulate
from tune_app.experiment.space import load_space
from tune_app.plan import made_up_search, mean_rungs
from tune_app.task.loading import load
from tune_app.task.tutorial import tutorial


def test_trials_at_each_rung_and_epochs_are_those_of_random_searches_on_measured_curves(
    tmp_path: Path, small_data: Path
) -> None:
    loaded = load(tutorial(), str(small_data))
    happened, planned = [], []
    for seed in range(8):
        settings: dict[str, Any] = {"sampler": "random", "seed": seed}
        happened.append(simulate(tmp_path / str(seed), **settings))
        source = load_space(Path(__file__).with_name("levels.yaml"), {**settings, "results_per_epoch": 1})
        planned += [made_up_search(source, loaded, number) for number in range(5)]
    expected = {(rung.family, rung.epoch): rung.trials for rung in mean_rungs(planned, source.settings)}
    for family in ("logistic", "cnn"):
        for epoch in (1.0, 3.0):
            reached = mean(len(history.rungs[family].get(epoch, ())) for history in happened)
            assert expected[family, epoch] == pytest.approx(reached, abs=2), (family, epoch)
    completed = mean(history.count("completed") for history in happened)
    assert expected["logistic", 9.0] + expected["cnn", 9.0] == pytest.approx(completed, abs=2)
    epochs = [mean(sum(trial.epoch for trial in h.trials) for h in histories) for histories in (planned, happened)]
    assert epochs[0] == pytest.approx(epochs[1], rel=0.15)
