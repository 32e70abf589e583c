"""What is tried first: exported configs and the best of earlier searches."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.made_up import ask_and_start, give, searching, spec_of
from tests.refused import refusal
from tests.units.test_sampler import play
from tune_app.bundle.export import export_best
from tune_app.engine.search import Search
from tune_app.enqueue import enqueued_configs
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import check_space
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task.task import Config
from tune_app.task.tutorial import tutorial

LEVEL_AND_LR: dict[str, Any] = {"level": {"choice": ["linear", "cnn"]}, "lr": {"loguniform": [0.01, 1]}}
SPACE = check_space(LEVEL_AND_LR, tutorial(), "space.yaml")
BASELINE = tutorial().baseline_config
LINEAR = tutorial().complete({"level": "linear", "lr": 0.2})


def searched(folder: Path, *results: tuple[float, ...]) -> list[Config]:
    """An experiment x, a trial for each of the results; the configs of the trials."""
    with searching(folder, "x", LEVEL_AND_LR, early_stopping=False, end="completed") as search:
        for values in results:
            give(search, ask_and_start(search), *values)
    return [trial.config for trial in search.history.trials]


def write_config(path: Path, config: object) -> str:
    path.write_text(yaml.safe_dump({"config": config, "seed": 1}))
    return str(path)


def test_what_export_writes_is_enqueued(tmp_path: Path) -> None:
    configs = searched(tmp_path, (0.3,), (0.9, 0.8), (0.5,))
    export_best(load_experiment("x", tmp_path), tmp_path / "best")
    found = enqueued_configs([str(tmp_path / "best" / "config.yaml")], SPACE, tmp_path)
    assert found == [configs[1]]


def test_the_best_trials_come_best_first_each_once_whatever_else_they_reached(tmp_path: Path) -> None:
    configs = searched(tmp_path, (0.5, 0.9, 0.4), (0.95, 0.94, 0.93), (0.3,), (0.6,), (0.92,), (0.91, 0.1))
    assert len({str(config) for config in configs}) == len(configs)
    assert enqueued_configs(["x:5"], SPACE, tmp_path) == [configs[number] for number in (1, 4, 5, 0, 3)]
    assert enqueued_configs(["x:1"], SPACE, tmp_path) == [configs[1]]


def test_a_trial_that_failed_after_good_results_counts_and_one_without_results_does_not(tmp_path: Path) -> None:
    with searching(tmp_path, "x") as search:
        first, second = ask_and_start(search), ask_and_start(search)
        give(search, second, 0.8)
        search.failed(first, "ValueError: no")
        search.failed(second, "ValueError: no")
    assert enqueued_configs(["x:5"], SPACE, tmp_path) == [search.history.trials[second].config]


def test_each_config_is_enqueued_once_wherever_it_comes_from(tmp_path: Path) -> None:
    configs = searched(tmp_path, (0.5,), (0.7,))
    own, again = write_config(tmp_path / "own.yaml", LINEAR), write_config(tmp_path / "again.yaml", configs[0])
    sources = [own, "x:2", again, own, "x:1"]
    assert enqueued_configs(sources, SPACE, tmp_path) == [LINEAR, configs[1], configs[0]]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("xx:5", "e: no experiment xx, "),
        ("empty:5", "--enqueue empty:5: the experiment has no result yet"),
        ("../x:5", "../x:5: cannot be read: No such file or directory"),
        ("", ".: cannot be read: Is a directory"),
    ],
)
def test_what_is_no_source_is_named(tmp_path, monkeypatch, source, message) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("e")
    searched(folder, (0.5,))
    Search.create(spec_of("empty"), paths(folder, "empty")).close()
    assert refusal(enqueued_configs, [source], SPACE, folder).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no config, allowed: a config.yaml of tune-app export, or NAME:5"),
        ("config: {}", "config: level is missing, allowed: scratch, "),
        ("config: {level: linear, momentum: 0.5}", "config: level 'linear' has no 'momentum', allowed: lr, bs"),
    ],
)
def test_what_is_no_config_is_said_with_the_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    assert refusal(enqueued_configs, [str(path)], SPACE, tmp_path).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("config", "outside"),
    [
        ({"level": "cnn", "lr": 2}, "lr 2.0"),
        (LINEAR | {"bs": 32}, "bs 32"),
        ({"level": "cnn", "lr": 0.05, "width": 2}, "width 2"),
    ],
)
def test_a_config_outside_the_space_names_the_dimension(tmp_path, config, outside) -> None:
    source = write_config(tmp_path / "own.yaml", config)
    said = f"--enqueue {source}: {outside}, which the space does not contain"
    assert refusal(enqueued_configs, [source], SPACE, tmp_path) == said


# The sampler.


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_tutorials_config_comes_first_then_what_else_is_enqueued_then_proposals(sampler: Any) -> None:
    enqueued = [LINEAR, BASELINE | {"lr": 0.3}]
    configs = play(SPACE, Settings(sampler=sampler), 30, enqueued=[*enqueued, dict(BASELINE)])
    assert configs[:3] == [BASELINE, *enqueued]
    assert all(SPACE.outside(config) is None for config in configs)
    assert len({str(config) for config in configs}) == 30


def test_where_the_space_lacks_the_tutorials_config_what_is_enqueued_comes_first() -> None:
    space = check_space({"level": "linear", "lr": {"loguniform": [0.01, 1]}}, tutorial(), "space.yaml")
    assert play(space, Settings(), 2, enqueued=[LINEAR])[0] == LINEAR


def configs_asked(search: Search) -> list[Config]:
    """All configs of a search, whose trials have all begun then."""
    while not search.all_begun:
        search.next_attempt()
    search.close()
    return [trial.config for trial in search.history.trials]


def test_a_search_smaller_than_what_is_enqueued_tries_the_first_of_it_and_extended_the_rest(tmp_path: Path) -> None:
    enqueued = tuple(LINEAR | {"lr": 0.1 + number / 10} for number in range(5))
    spec = spec_of("x", LEVEL_AND_LR, num_samples=3).model_copy(update={"enqueued": enqueued})
    assert configs_asked(Search.create(spec, paths(tmp_path, "x"))) == [BASELINE, *enqueued[:2]]
    extended = configs_asked(Search.resume(paths(tmp_path, "x"), {"num_samples": 7}))
    assert (extended[:6], len(extended)) == ([BASELINE, *enqueued], 7)
