"""Bugs that were found in going on with a search, each with its test."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.made_up import ask_and_start, give, result_of, searching, spec_of
from tests.refused import refusal
from tune_app import api, driver
from tune_app.bundle.export import trial_again
from tune_app.engine.search import Search
from tune_app.enqueue import enqueued_configs
from tune_app.errors import TuneAppError
from tune_app.experiment.history import replay
from tune_app.experiment.record import RecordWriter
from tune_app.experiment.space import load_space
from tune_app.experiment.spec import Paths
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The experiments directory of a working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "experiments"


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `extend` would go on with, instead of going on."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(driver, "go_on", lambda _, extension, *__: found.append(extension))
    return found


def ended(folder: Path, reason: str = "completed", **settings: Any) -> Paths:
    with searching(folder, "x", end=reason, **settings) as search:
        give(search, ask_and_start(search), 0.5, 0.6)
    return search.paths


def begun(folder: Path, space: str) -> None:
    """A search of space.yaml that was interrupted at once."""
    Path("space.yaml").write_text(space)
    source = load_space("space.yaml")
    spec = spec_of("x", source.content).model_copy(update={"settings": source.settings})
    Search.create(spec, paths(folder, "x")).close()


@pytest.mark.parametrize(
    "budget",
    [{}, {"max_epochs": 20}, {"seed": 5}, {"metric": "valid_loss"}, {"num_samples": 99, "grace_period": 3.0}],
)
def test_nothing_but_a_budget_extends_a_search(folder, extensions, budget) -> None:
    ended(folder, "interrupted")
    with pytest.raises(TuneAppError, match=r"no budget.*allowed: num_samples, time_budget"):
        api.extend("x", budget, folder, quiet=True)
    assert extensions == []


def test_a_target_that_was_reached_does_not_end_an_extension(folder, extensions) -> None:
    ended(folder, "interrupted", target=0.55)
    api.extend("x", {"num_samples": 99}, folder, quiet=True)
    assert extensions == [{"num_samples": 99, "target": None}]


def test_an_extension_that_makes_no_sense_is_not_written(folder: Path) -> None:
    at = ended(folder)
    before = at.record.read_bytes()
    with pytest.raises(ValueError, match="num_samples"):
        Search.resume(at, {"num_samples": -1})
    assert at.record.read_bytes() == before


def test_of_two_extensions_at_once_the_later_does_not_shrink_the_search(folder: Path) -> None:
    at = ended(folder)
    Search.resume(at, {"num_samples": 99}).close()
    assert "has been extended to 99 trials by another process" in refusal(Search.resume, at, {"num_samples": 30})
    assert replay(at.record).spec.settings.num_samples == 99


def test_an_extended_search_is_resumed_by_the_file_that_it_began_with(folder: Path) -> None:
    begun(folder, "space: {level: linear}\nsearch: {num_samples: 5}")
    Search.resume(paths(folder, "x"), {"num_samples": 9}).close()
    driver.require_same(load_space("space.yaml"), (), load_experiment("x", folder))


def test_a_resumption_with_other_enqueued_configs_is_refused(folder: Path) -> None:
    begun(folder, "space: {level: linear, lr: {loguniform: [0.01, 1]}}\nsearch: {num_samples: 5}")
    Path("config.yaml").write_text("config: {level: linear, lr: 0.3}")
    with pytest.raises(TuneAppError, match="other configs were enqueued"):
        api.search("space.yaml", "x", resume=True, enqueue=["config.yaml"], quiet=True)


def test_a_trial_that_failed_after_results_is_repeated_beyond_them(folder: Path) -> None:
    with searching(folder, "x") as search:
        number = ask_and_start(search)
        give(search, number, 0.5)
        search.failed(number, "ValueError: at step 2")
    assert trial_again(load_experiment("x", folder), number).settings.epochs == 9


def test_the_best_of_an_experiment_are_so_many_configs_however_often_each_was_tried(folder: Path) -> None:
    space = {"level": "linear", "bs": {"choice": [32, 64]}}
    with searching(folder, "x", space, early_stopping=False) as search:
        for number in range(8):
            give(search, ask_and_start(search), 0.9 - 0.2 * (search.history.trials[number].config["bs"] == 64))
    found = enqueued_configs(["x:2"], spec_of("x", space).search_space(), folder)
    assert [config["bs"] for config in found] == [32, 64]


def test_an_append_that_failed_halfway_does_not_spoil_the_next(folder, monkeypatch) -> None:
    at = paths(folder, "x")
    search = Search.create(spec_of("x"), at)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:20]))
        with pytest.raises(TuneAppError):
            search.begin()
    search.begin()
    search.close()
    assert [entry["event"] for entry in replay(at.record).searches] == ["started"]


def test_a_record_without_an_entry_says_what_to_do(folder: Path) -> None:
    RecordWriter.create(paths(folder, "x").record).close()
    line = refusal(load_experiment, "x", folder)
    assert line.endswith("is empty, its search was killed before it began; allowed: tune-app remove x")


def test_judging_changes_nothing(folder: Path) -> None:
    with searching(folder, "x") as search:
        search.judge(ask_and_start(search), result_of(1, 0.5))
        assert search.history == replay(search.record.path)


def test_a_dimension_that_a_chain_of_conditions_excludes_is_not_told_to_the_sampler(folder: Path) -> None:
    space = {
        "level": {"choice": ["cnn", "linear"]},
        "momentum": {"choice": [0.0, 0.5], "when": {"level": ["cnn"]}},
        "weight_decay": {"loguniform": [1e-5, 1e-2], "when": {"momentum": [0.0]}},
        "lr": {"loguniform": [0.01, 1]},
    }
    with searching(folder, "x", space, sampler="tpe", num_samples=20) as search:
        for _ in range(20):
            give(search, ask_and_start(search), 0.5)
    resumed = Search.resume(search.paths)
    assert len(resumed.history.trials) == len(resumed.waiting) == 20
    resumed.close()
