"""Plans, held against default searches on measured curves."""

import os
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from tests.simulations.curves import Curve
from tests.simulations.test_searches import simulate as search_measured_curves
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SearchSpace, check_space, load_space
from tune_app.tuning.costs import Cost, Costs
from tune_app.tuning.sampler import Sampler
from tune_app.tuning.simulation import (
    LARGEST,
    POOL,
    RANDOM_FIRST,
    Simulated,
    draw,
    expected_rungs,
    simulated_searches,
    spread,
)
from tune_app.tutorial.levels import LEVELS

IMAGES = 50_000
SPACE = check_space({"level": {"choice": ["linear", "cnn"]}, "lr": {"loguniform": [0.01, 1]}}, "x")


def costs_of(image_seconds: float = 1e-5, **others: Any) -> Costs:
    """Every image takes as long on every level."""
    corners_ = tuple(Cost(level, 64, 1, image_seconds, 0.0) for level in LEVELS)
    return Costs(corners_, **{"between_results": 0, "between_trials": 0, "worker": 0, "closing": 0, **others})


def searches_of(
    settings: Settings, at_once: int, costs: Costs, space: SearchSpace = SPACE, trials: int | None = None
) -> list[Simulated]:
    n = trials or settings.num_samples
    return simulated_searches(draw(space, settings, n), settings, n, at_once, costs, IMAGES)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_trials_at_each_rung_and_epochs_are_those_of_default_searches_on_measured_curves(
    tmp_path: Path, curves: list[Curve], sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing is at stake
    planned: list[Simulated] = []
    happened = []
    for seed in range(8):
        folder = tmp_path / str(seed)
        happened.append(search_measured_curves(folder, curves, sampler=sampler, seed=seed))
        settings = happened[-1].spec.settings
        planned += searches_of(settings, 2, costs_of(), happened[-1].spec.search_space())[:40]
    at_rungs = {(rung.family, rung.epoch): rung.reach for rung in expected_rungs(planned, settings)}
    for family in ("logistic", "cnn"):
        for epoch in (1.0, 3.0):
            reached = mean(len(history.rungs[family].get(epoch, ())) for history in happened)
            assert at_rungs[family, epoch] == pytest.approx(reached, abs=2.5), (family, epoch)
    completed = mean(history.count("completed") for history in happened)
    assert at_rungs["logistic", 9.0] + at_rungs["cnn", 9.0] == pytest.approx(completed, abs=2.5)
    epochs = [sum(trial.epoch for trial in history.trials) for history in happened]
    assert mean(one.epochs for one in planned) == pytest.approx(mean(epochs), rel=0.15)
    expected = spread([one.epochs for one in planned])
    assert sum(expected.low <= value <= expected.high for value in epochs) >= 6


def test_without_early_stopping_the_time_is_known() -> None:
    settings = Settings(num_samples=6, max_epochs=4, early_stopping=False, sampler="random")
    costs = costs_of(between_results=0.1, between_trials=0.5, worker=3, closing=1)
    for at_once, rounds in ((1, 6), (2, 3), (4, 2), (100, 1)):
        searches = searches_of(settings, at_once, costs)
        trial = 4 * (IMAGES * 1e-5) + 16 * 0.1
        assert {one.epochs for one in searches} == {24}
        for one in searches:
            assert one.seconds == pytest.approx(3 + rounds * trial + (rounds - 1) * 0.5 + 1)
        last = expected_rungs(searches, settings)
        assert sum(rung.reach for rung in last) == 6
        assert {rung.epoch for rung in last} == {4}


def test_every_trial_reaches_the_first_rung_and_who_passes_one_reaches_the_next() -> None:
    settings = Settings(num_samples=20, max_epochs=9, metric="valid_loss")
    planned = expected_rungs(searches_of(settings, 3, costs_of()), settings)
    assert sum(rung.reach for rung in planned if rung.epoch == 1) == pytest.approx(20)
    for family in ("logistic", "cnn"):
        one, three, nine = (rung for rung in planned if rung.family == family)
        assert one.go_on == pytest.approx(three.reach)
        assert three.go_on == pytest.approx(nine.reach)
        assert 0 < nine.reach < three.reach < one.reach
        assert nine.go_on == 0


def test_a_rung_that_no_result_is_the_first_to_reach_is_left_out() -> None:
    settings = Settings(num_samples=8, max_epochs=3, grace_period=0.25, reduction_factor=2, results_per_epoch=1)
    planned = expected_rungs(searches_of(settings, 2, costs_of()), settings)
    assert [rung.epoch for rung in planned if rung.family == "cnn"] == [1, 2, 3]


def test_a_time_budget_ends_a_search_and_counts_what_was_trained_until_then() -> None:
    settings = Settings(num_samples=6, max_epochs=4, early_stopping=False, sampler="random", time_budget=5.1)
    for one in searches_of(settings, 1, costs_of(worker=2, closing=0.25)):  # a result takes an eighth of a second
        assert one.seconds == pytest.approx(5.35)
        assert one.epochs == 6
        assert one.reach.total() == 1
    enough = settings.model_copy(update={"time_budget": 1000.0})
    assert {one.epochs for one in searches_of(enough, 1, costs_of())} == {24}


def test_a_very_large_search_is_simulated_in_part_and_the_rest_is_in_proportion() -> None:
    settings = Settings(num_samples=10 * LARGEST, max_epochs=1, early_stopping=False, sampler="random")
    for one in searches_of(settings, 4, costs_of()):
        assert one.epochs == 10 * LARGEST
        assert one.reach.total() == 10 * LARGEST
        assert one.seconds == pytest.approx(10 * LARGEST / 4 * 0.5)
    short = settings.model_copy(update={"time_budget": 2 * LARGEST / 4 * 0.5})
    assert all(one.epochs == pytest.approx(2 * LARGEST, rel=0.01) for one in searches_of(short, 4, costs_of()))


def test_the_configs_are_those_that_the_search_will_try() -> None:
    source = load_space("quick")
    sampler = Sampler(source.space, source.settings)
    drawn = draw(source.space, source.settings, 10)
    assert list(drawn.known) == [sampler.ask(number) for number in range(10)]
    assert drawn.pool == ()
    source = load_space("tutorial")
    assert source.settings.sampler == "tpe"
    sampler = Sampler(source.space, source.settings)  # nothing ends, so it draws at random
    drawn = draw(source.space, source.settings, 32)
    assert list(drawn.known) == [sampler.ask(number) for number in range(RANDOM_FIRST)]
    assert len(drawn.pool) == POOL
    source = load_space("grid")
    assert list(draw(source.space, source.settings, 24).known) == list(source.space.grid())


def test_what_is_made_up_is_made_up_from_the_seed() -> None:
    settings = Settings(num_samples=20, max_epochs=9)
    first, second, other = (
        spread([one.seconds for one in searches_of(s, 2, costs_of())])
        for s in (settings, settings, settings.model_copy(update={"seed": 1}))
    )
    assert first == second != other


def test_a_machine_that_is_busy_at_times_widens_the_range_of_the_time_and_of_nothing_else() -> None:
    settings = Settings(num_samples=10, max_epochs=1, early_stopping=False, sampler="random")
    searches = searches_of(settings, 1, costs_of(paces=(1.0, 1.0, 3.0)))
    times = spread([one.seconds for one in searches])
    assert (times.low, times.median, times.high) == pytest.approx((5, 5, 15))
    assert {one.epochs for one in searches} == {10}
