"""What a search would need: gone through with made-up results, and measured at the corners of its space."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.refused import error_of
from tune_app.cli import main
from tune_app.experiment.space import SpaceSource, load_space
from tune_app.plan import Cost, corners, made_up_search, plan, seconds_of
from tune_app.task.loading import Loaded, load
from tune_app.task.tutorial import tutorial


@pytest.fixture(scope="module")
def loaded(small_data: Path) -> Loaded:
    return load(tutorial(), str(small_data))


def space_of(space: dict[str, Any], **search: Any) -> SpaceSource:
    return load_space({"space": space, "search": {"sampler": "random", **search}})


BOTH = {"level": {"choice": ["linear", "cnn"]}, "lr": {"loguniform": [0.01, 1]}}


def test_the_extremes_of_each_level_are_measured_and_what_lies_between_is_interpolated(loaded: Loaded) -> None:
    sizes = {"bs": {"choice": [16, 32, 48]}, "width": {"choice": [1, 2, 3], "when": {"level": ["cnn"]}}}
    source = space_of({**BOTH, **sizes}, num_samples=60, results_per_epoch=1)
    drawn = [trial.config for trial in made_up_search(source, loaded, 0).trials]
    assert [(c["level"], c["bs"], c.get("width")) for c in corners(drawn, tutorial())] == [
        *(("linear", bs, None) for bs in (16, 48)),
        *(("cnn", bs, width) for bs in (16, 48) for width in (1, 3)),
    ]

    def image(bs: int, width: int) -> float:  # a batch costs 1 ms, an image 10 us for each width
        return 1e-3 / bs + 1e-5 * width

    costs = [
        Cost(tutorial().complete({"level": "cnn", "bs": bs, "width": width}), 1000 * image(bs, width), 0.5, 1)
        for bs in (16, 256)
        for width in (1, 4)
    ]
    for bs, width in ((16, 1), (256, 4), (64, 1), (100, 3)):
        config = tutorial().complete({"level": "cnn", "bs": bs, "width": width})
        assert seconds_of(config, costs, 2, 3) == pytest.approx(2000 * image(bs, width) + 1.5)


def test_without_early_stopping_every_trial_is_trained_to_the_end(loaded: Loaded) -> None:
    made = plan(space_of(BOTH, num_samples=6, max_epochs=4, early_stopping=False), loaded, 4)
    assert (made.trials, made.at_once, made.epochs) == (6, 4, 24)
    assert {rung.epoch for rung in made.rungs} == {4}
    assert sum(rung.trials for rung in made.rungs) == 6
    assert made.seconds > 0


def test_each_rung_is_reached_by_those_that_passed_the_one_before(loaded: Loaded) -> None:
    search: dict[str, Any] = {"num_samples": 40, "max_epochs": 9, "metric": "valid_loss"}
    source = space_of({"level": "linear", "lr": {"loguniform": [0.01, 1]}}, **search)
    made = plan(source, loaded, 1)
    assert [(rung.family, rung.epoch) for rung in made.rungs] == [("logistic", e) for e in (1.0, 3.0, 9.0)]
    first, second, end = (rung.trials for rung in made.rungs)
    assert first == 40
    # ASHA lets the best third pass, and each that comes before any better one.
    assert 40 / 3 < second < 40 / 2 and second / 3 < end < second


def test_a_plan_is_made_up_from_the_seed(loaded: Loaded) -> None:
    source = space_of(BOTH, num_samples=20)
    histories = [made_up_search(source, loaded, number) for number in (0, 0, 1)]
    fates = [[(trial.config, trial.epoch) for trial in history.trials] for history in histories]
    assert fates[0] == fates[1] != fates[2]


def test_a_plan_is_shown_and_leaves_nothing(small_data, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arguments = ["plan", "quick", "--num-samples", "4", "--time-budget", "0.01", "--data", str(small_data)]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 0, told.output
    head, *_, time, paused, budget, following = told.stdout.splitlines()
    assert head.startswith("quick: 4 trials of up to 4 epochs, ")
    assert " epochs in " in time and budget == "The time budget of 0 s ends it earlier."
    assert re.fullmatch(r"\d paused trials, whose states take 0.[1-9] MB", paused)
    assert following == "Search it, with the same options: tune-app search quick"
    made = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert made["trials"] == 4 and {rung["family"] for rung in made["rungs"]} == {"logistic"}
    assert [path for path in tmp_path.iterdir() if not path.name.startswith("torchinductor")] == []


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--cpus-per-trial", "500"], "--cpus-per-trial is 500, allowed: up to the "),
        (["--results-per-epoch", "1000"], "space.bs goes up to 128, but "),
    ],
)
def test_a_mistake_is_that_of_a_search(small_data: Path, options: list[str], line: str) -> None:
    told = CliRunner().invoke(main, ["plan", "quick", "--data", str(small_data), *options])
    assert error_of(told).startswith(line)
