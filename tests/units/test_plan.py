"""Plans: what searches are expected to need, and what is said of it afterwards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.made_up import ask_and_start, give_one, result_of, spec_of
from tune_app.cli import main
from tune_app.experiment.history import Experiment, History, load_experiment
from tune_app.experiment.plan import Memory, Plan, Range, Rung, plan_path, read_plan, write_plan
from tune_app.experiment.record import Entry
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import check_space
from tune_app.experiment.spec import paths
from tune_app.output.plan import comparison, comparison_words, number_words, time_words
from tune_app.tuning import calibration
from tune_app.tuning.costs import Cost, Costs, corners, measured
from tune_app.tuning.driver import note_plan
from tune_app.tuning.resources import Share
from tune_app.tuning.search import Search
from tune_app.tuning.simulation import (
    draw,
)
from tune_app.tutorial.levels import complete

IMAGES = 50_000
SPACE = check_space({"level": {"choice": ["linear", "cnn"]}, "lr": {"loguniform": [0.01, 1]}}, "x")


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


def test_how_slow_a_machine_was_at_times_is_read_from_the_record() -> None:
    seconds = [0.75] * 30 + [2.75] * 10
    results = [(trial, 7, 105.0 + trial + part / 2, seconds[trial]) for trial in range(40) for part in (0, 1)]
    costs = measured(history_of(results, began=100.0, ended=150.0), warm_ups=0)
    assert costs.paces == (1, 1, 1, 1, 1, 1, 1, 2, 3, 3)


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
