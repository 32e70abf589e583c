"""Plans: what searches are expected to need, held against measured curves, and what is said afterwards."""

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from click.testing import CliRunner

from tests.curves import Curve, read_curves
from tests.test_search import ask_and_start, give_one, result_of, spec_of
from tests.test_simulated_searches import simulate as search_measured_curves
from tune_app.cli import main
from tune_app.experiment.history import Experiment, History, load_experiment
from tune_app.experiment.plan import Memory, Plan, Range, Rung, plan_path, read_plan, write_plan
from tune_app.experiment.record import Entry
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SearchSpace, check_space, load_space
from tune_app.experiment.spec import paths
from tune_app.output.plan import comparison, comparison_words, number_words, time_words
from tune_app.tuning import calibration
from tune_app.tuning.costs import Cost, Costs, corners, measured
from tune_app.tuning.driver import note_plan
from tune_app.tuning.resources import Share
from tune_app.tuning.sampler import Sampler
from tune_app.tuning.search import Search
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
from tune_app.tutorial.levels import LEVELS, complete

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


@pytest.fixture(scope="module")
def curves() -> list[Curve]:
    return read_curves()


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


def test_the_extremes_of_each_level_are_measured_and_what_lies_between_is_interpolated() -> None:
    space = check_space({"level": {"choice": ["linear", "cnn"]}, "bs": {"randint": [16, 256]}}, "x")
    drawn = list(draw(space, Settings(sampler="random"), 40).known)
    drawn += [complete({"level": "cnn", "bs": 64, "width": width}) for width in (2, 4)]
    chosen = corners(drawn)
    sizes = {level: {c["bs"] for c in drawn if c["level"] == level} for level in ("linear", "cnn")}
    assert [(c["level"], c["bs"], c.get("width")) for c in chosen] == [
        *(("linear", bs, None) for bs in (min(sizes["linear"]), max(sizes["linear"]))),
        *(("cnn", bs, w) for bs in (min(sizes["cnn"]), max(sizes["cnn"])) for w in (1, 4)),
    ]

    def image(bs: int, width: int) -> float:  # a batch costs 1 ms, an image 10 us for each width
        return 1e-3 / bs + 1e-5 * width

    costs = Costs(
        tuple(Cost("cnn", bs, width, image(bs, width), 0.5) for bs in (16, 256) for width in (1, 4)), 0.1, 0, 0, 0
    )
    for bs, width in ((16, 1), (256, 4), (64, 1), (100, 3)):
        config = complete({"level": "cnn", "bs": bs, "width": width})
        assert costs.of_result(config, 1000) == pytest.approx(1000 * image(bs, width) + 0.5 + 0.1)


def history_of(results: Sequence[tuple[int, int, float, float]], began: float, ended: float) -> History:
    """A calibration of linear at bs 32 and 64 in turn, by results: trial, worker, time, seconds of training."""
    history = History(spec_of("x"), began)
    entries: list[Entry] = [{"kind": "search", "event": "started", "time": began}]
    for trial, worker, time, seconds in results:
        config = complete({"level": "linear", "bs": (32, 64)[trial % 2]})
        if trial == sum(entry["kind"] == "asked" for entry in entries):
            entries.append({"kind": "asked", "trial": trial, "config": config, "seed": 1, "time": began})
            begun = {"kind": "started", "trial": trial, "attempt": 0, "node": "here", "pid": worker, "time": began}
            entries.append(begun)
        took = {"train_seconds": seconds, "valid_seconds": 0.25, "images": 1000, "valid_accuracy": 0.5}
        where = {"trial": trial, "attempt": 0, "rung": None, "epoch": 1, "parameters": 1, "k": 1}
        entries.append({"kind": "result", "time": time, **where, **took})
    entries.append({"kind": "search", "event": "ended", "reason": "completed", "time": ended})
    for entry in entries:
        history.apply(entry)
    return history


def test_costs_are_read_from_the_record_of_a_calibration_without_its_warm_ups() -> None:
    history = history_of(
        [
            (0, 7, 105.0, 2.0),  # a warm-up; the worker was ready 2.75 s after the start
            (0, 7, 106.0, 0.65),
            (1, 7, 107.5, 0.85),
            (1, 7, 108.5, 0.65),
            (2, 7, 109.9, 0.75),
            (2, 7, 110.8, 0.55),
        ],
        began=100.0,
        ended=111.4,
    )
    costs = measured(history, warm_ups=1)
    assert costs.corners == (Cost("linear", 64, 1, 0.65e-3, 0.25), Cost("linear", 32, 1, 0.55e-3, 0.25))
    assert costs.between_results == pytest.approx(0.1)
    assert costs.between_trials == pytest.approx(0.3)  # 0.4 s, of which 0.1 lie before every result
    assert costs.worker == pytest.approx(2.75)
    assert costs.closing == pytest.approx(0.6)
    assert costs.paces == (1, 1)


def test_a_machine_that_is_busy_at_times_widens_the_range_of_the_time_and_of_nothing_else() -> None:
    seconds = [0.75] * 30 + [2.75] * 10
    results = [(trial, 7, 105.0 + trial + part / 2, seconds[trial]) for trial in range(40) for part in (0, 1)]
    costs = measured(history_of(results, began=100.0, ended=150.0), warm_ups=0)
    assert costs.paces == (1, 1, 1, 1, 1, 1, 1, 2, 3, 3)
    settings = Settings(num_samples=10, max_epochs=1, early_stopping=False, sampler="random")
    searches = searches_of(settings, 1, costs_of(paces=(1.0, 1.0, 3.0)))
    times = spread([one.seconds for one in searches])
    assert (times.low, times.median, times.high) == pytest.approx((5, 5, 15))
    assert {one.epochs for one in searches} == {10}


def test_every_corner_is_measured_once_and_then_again_until_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [complete({"level": "linear", "bs": bs}) for bs in (32, 64, 128)]
    for seconds, asked in ((0.0, 5), (1000.0, 20)):
        monkeypatch.setattr(calibration, "SECONDS", seconds)
        spec = spec_of("x", num_samples=10, results_per_epoch=20)
        search = calibration.Calibration.create(spec, paths(tmp_path / str(asked), "x"))
        search.corners, search.warm_ups = configs, 2
        search.begin()
        while not search.all_begun and len(search.history.trials) < 20:
            number = ask_and_start(search)
            for k in (1, 2):
                result = result_of(k, 0.5, 20, memory=300 + number)
                decision = search.judge(number, result)
                assert decision.stop == (k == 2)
                search.report(number, result, decision)
        search.close()
        assert len(search.history.trials) == asked
        assert [trial.config["bs"] for trial in search.history.trials[2:5]] == [32, 64, 128]
        assert search.memory == 300 + asked - 1
        assert search.state == 2 * 3 * 8
        assert search.history.count("completed") == asked


def plan_of(digest: str, **others: Any) -> Plan:
    values: dict[str, Any] = {
        "name": "x",
        "digest": digest,
        "data": "d",
        "trials": 2,
        "at_once": 2,
        "rungs": (Rung(family="cnn", epoch=1, reach=2, go_on=0),),
        "epochs": Range(low=10, median=12, high=15.4),
        "seconds": Range(low=90, median=110, high=140),
        "start_seconds": 4,
        "calibration_seconds": 12,
        "memory": Memory(worker=400_000_000, driver=300_000_000, ray=0),
        "disk": 200_000,
    }
    return Plan(**{**values, **others})


def test_a_plan_is_kept_under_its_digest_and_what_is_no_plan_is_passed_over(tmp_path: Path) -> None:
    assert read_plan(tmp_path, "0123") is None
    write_plan(plan_of("0123"), tmp_path)
    write_plan(plan_of("0123", trials=3), tmp_path)
    assert read_plan(tmp_path, "0123") == plan_of("0123", trials=3)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["0123.json"]
    for rubbish in (b"", b"{}", b"\xff", b'{"name": 3}'):
        plan_path(tmp_path, "0123").write_bytes(rubbish)
        assert read_plan(tmp_path, "0123") is None


def searched(folder: Path, *, reason: str | None = "completed", planned: bool = True) -> Search:
    """A search of two trials of one epoch each that took note of its plan."""
    spec = spec_of("x", num_samples=2, max_epochs=1)
    if planned:
        write_plan(plan_of(spec.digest), folder)
    search = Search.create(spec, paths(folder, "x"))
    search.begin()
    note_plan(search, Share(1, 0, 2))
    for value in (0.8, 0.9):
        give_one(search, ask_and_start(search), 1, value)
    if reason:
        search.end(reason)
        search.close()
    return search


def test_status_says_how_wrong_the_plan_was(tmp_path: Path) -> None:
    search = searched(tmp_path)
    experiment = load_experiment("x", tmp_path)
    assert experiment.history.plan == plan_of(search.spec.digest)
    planned = "planned 1 min 50 s (1 min 30 s to 2 min 20 s) and 12 (10 to 15) epochs"
    assert comparison_words(experiment) == f"{planned}; took 0 s and 2"
    compared = comparison(experiment)
    assert compared is not None
    assert compared["planned"]["seconds"] == {"low": 90, "median": 110, "high": 140}
    assert [(rung["family"], rung["epoch"]) for rung in compared["planned"]["rungs"]] == [("cnn", 1)]
    cnns = sum(trial.family == "cnn" for trial in experiment.history.trials)
    assert compared["took"]["reach"] == [cnns]
    assert compared["took"]["epochs"] == 2
    assert 0 < compared["took"]["seconds"] < 10
    shown = CliRunner().invoke(main, ["status", "x", "--experiments-dir", str(tmp_path)])
    assert shown.output.splitlines()[-1] == comparison_words(experiment)


def test_what_is_certain_is_shown_without_a_range() -> None:
    assert number_words(Range(low=96, median=96, high=96.2)) == "96"
    assert time_words(Range(low=29.6, median=30, high=31)) == "30 s (30 s to 31 s)"


def test_a_search_without_a_plan_says_nothing_of_one(tmp_path: Path) -> None:
    searched(tmp_path, planned=False)
    experiment = load_experiment("x", tmp_path)
    assert comparison_words(experiment) is None
    assert comparison(experiment) is None


def test_what_was_not_searched_from_start_to_end_is_not_compared(tmp_path: Path) -> None:
    def said(experiment: Experiment) -> str:
        compared = comparison(experiment)
        assert compared is not None
        assert compared["took"] is None
        words = comparison_words(experiment)
        assert words is not None
        assert words.endswith(f" epochs; not compared: {compared['not_compared']}")
        return str(compared["not_compared"])

    search = searched(tmp_path / "running", reason=None)
    assert said(load_experiment("x", tmp_path / "running")) == "it is running"
    search.close()
    assert said(load_experiment("x", tmp_path / "running")) == "it was interrupted"
    resumed = Search.resume(paths(tmp_path / "running", "x"))
    resumed.begin()
    note_plan(resumed, Share(1, 0, 2))
    resumed.end("completed")
    resumed.close()
    assert said(load_experiment("x", tmp_path / "running")) == "it was interrupted and resumed"
    assert sum('"kind":"planned"' in line for line in resumed.paths.record.read_text().splitlines()) == 1
    extended = Search.resume(paths(tmp_path / "running", "x"), {"num_samples": 3})
    extended.close()
    assert said(load_experiment("x", tmp_path / "running")) == "it was extended"
    searched(tmp_path / "target", reason="target")
    assert said(load_experiment("x", tmp_path / "target")) == "it reached its target"


@pytest.mark.parametrize("other", [{"data": "other"}, {"at_once": 1}, {"digest": "other"}])
def test_a_plan_for_other_images_workers_or_settings_is_not_taken(tmp_path: Path, other: dict[str, Any]) -> None:
    spec = spec_of("x", num_samples=2, max_epochs=1)
    write_plan(plan_of(**{"digest": spec.digest, **other}), tmp_path)
    search = Search.create(spec, paths(tmp_path, "x"))
    search.begin()
    note_plan(search, Share(1, 0, 2))
    search.close()
    assert load_experiment("x", tmp_path).history.plan is None


def test_a_search_that_tries_other_configs_first_is_not_what_was_planned(tmp_path: Path) -> None:
    spec = spec_of("x", num_samples=2, max_epochs=1).model_copy(update={"enqueued": (complete({"level": "cnn"}),)})
    write_plan(plan_of(spec.digest), tmp_path)
    search = Search.create(spec, paths(tmp_path, "x"))
    search.begin()
    note_plan(search, Share(1, 0, 2))
    search.close()
    assert load_experiment("x", tmp_path).history.plan is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "Error: nothing: no such file or shipped space, allowed: cnn, grid, quick, tutorial\n"),
        (["quick", "--max-epochs", "0"], "Error: --max-epochs is 0, allowed: greater than or equal to 1\n"),
        (["grid", "--num-samples", "3"], "Error: --num-samples does not go with a grid, which tries each of its"),
        (["quick", "--cpus-per-trial", "999"], "Error: --cpus-per-trial is 999, allowed: up to the "),
    ],
)
def test_a_mistake_is_that_of_a_search_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    options = ["--experiments-dir", str(tmp_path / "experiments")]
    plan, search = (CliRunner().invoke(main, [command, *arguments, *options]) for command in ("plan", "search"))
    assert plan.exit_code == search.exit_code == 1
    assert plan.output == search.output
    assert plan.output.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_what_is_made_up_is_made_up_from_the_seed() -> None:
    settings = Settings(num_samples=20, max_epochs=9)
    first, second, other = (
        spread([one.seconds for one in searches_of(s, 2, costs_of())])
        for s in (settings, settings, settings.model_copy(update={"seed": 1}))
    )
    assert first == second != other
