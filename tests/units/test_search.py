"""A search without Ray: what is asked, judged, kept and written, with results that a test makes up.

What holds whatever happens, tests/simulations/test_histories.py looks at after every step.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.invariants import outcome
from tests.made_up import (
    WORKER,
    ask_and_start,
    diverged,
    give,
    give_one,
    play,
    result_of,
    resumed,
    searching,
    spec_of,
    tell,
)
from tests.refused import refusal
from tune_app import api, driver
from tune_app.bundle.export import trial_again
from tune_app.engine.hopeless import OUT_OF_MEMORY
from tune_app.engine.search import Search
from tune_app.enqueue import enqueued_configs
from tune_app.errors import TuneAppError
from tune_app.experiment.history import replay
from tune_app.experiment.record import RecordWriter, read_entries
from tune_app.experiment.space import load_space
from tune_app.experiment.spec import Paths
from tune_app.experiment.trial import Trial
from tune_app.output.summary import seconds_searched
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task.result import Result


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    """A search that has begun."""
    with searching(tmp_path, "x") as search:
        yield search


@pytest.fixture
def resume(search: Search, at: Paths) -> Callable[..., Search]:
    """Let it go, and go on with it as another process would, perhaps with an extension."""

    def resume(extension: dict[str, Any] | None = None) -> Search:
        search.close()
        again = Search.resume(at, extension)
        search.record = again.record  # which is closed in the end
        return again

    return resume


def test_an_entry_is_on_disk_before_it_is_acted_on(search, at, monkeypatch) -> None:
    order: list[str] = []
    fsync, apply = os.fsync, search.history.apply
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append(at.record.read_text()), fsync(descriptor)))
    monkeypatch.setattr(search.history, "apply", lambda entry: (order.append("acted"), apply(entry)))
    search.ask()
    assert len(order) == 2
    assert '"kind":"asked"' in order[0].splitlines()[-1]
    assert order[1] == "acted"


def test_the_record_holds_everything_as_json_and_no_absolute_path(search, at, tmp_path) -> None:
    give(search, ask_and_start(search), 0.5, 0.6)
    for line in at.record.read_text().splitlines():
        assert isinstance(json.loads(line), dict)
    assert str(tmp_path) not in at.record.read_text()


def test_seeds_of_trials_differ_and_come_back() -> None:
    spec = spec_of("x", seed=4)
    seeds = [spec.trial_seed(number) for number in range(200)]
    assert len(set(seeds)) == 200
    assert seeds == [spec_of("other", seed=4).trial_seed(number) for number in range(200)]
    assert seeds != [spec_of("x", seed=5).trial_seed(number) for number in range(200)]


def test_a_torn_last_line_is_cut_off_before_the_first_append(search, at, resume) -> None:
    give(search, ask_and_start(search), 0.5)
    whole = at.record.read_bytes()
    at.record.write_bytes(whole + b'{"n":7,"kind":"resu')
    resume().begin()
    assert at.record.read_bytes().startswith(whole)
    assert [entry["n"] for entry in read_entries(at.record)] == list(range(whole.count(b"\n") + 1))


def test_a_trial_whose_state_is_lost_goes_on_from_the_one_before_and_nothing_is_judged_twice(search, at, resume):
    number = ask_and_start(search)
    give(search, number, 0.5, 0.6)
    at.state(number, 2).unlink()
    again = resume()
    assert again.next_attempt().after == 1
    again.started(number, WORKER)
    before = len(list(read_entries(at.record)))
    assert not tell(again, number, result_of(2, 0.6)).stop
    assert len(list(read_entries(at.record))) == before
    give_one(again, number, 3, 0.7)
    assert [r.k for r in again.history.trials[number].results] == [1, 2, 3]


def test_a_record_is_resumed_by_one_process_at_a_time(search: Search, at: Paths) -> None:
    assert "another process is searching it" in refusal(Search.resume, at)


def test_a_trial_that_loses_its_worker_is_the_next_until_it_has_failed_too_often(search: Search) -> None:
    number = ask_and_start(search)
    other = ask_and_start(search)
    search.lost(other, "its worker died", "text")
    assert search.history.trials[other].losses == 1
    for _ in range(2):
        search.lost(number, "its worker died", "text")
        attempt = search.next_attempt()
        assert attempt.trial.number == number
        search.started(number, WORKER)
    search.lost(number, "its worker died", "text")
    trial = search.history.trials[number]
    assert (trial.state, trial.traceback) == ("failed", "text")
    assert trial.reason == "lost 3 times, the last time: its worker died"
    assert search.next_attempt().trial.number == other


def test_an_experiment_that_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RecordWriter, entry: dict[str, Any]) -> None:
        raise TuneAppError("no space")

    monkeypatch.setattr(RecordWriter, "append", full)
    assert refusal(Search.create, spec_of("z"), paths(tmp_path, "z")) == "no space"
    assert list(tmp_path.iterdir()) == []


def test_the_time_between_an_interruption_and_its_resumption_does_not_count(search, at, resume, monkeypatch):
    give(search, ask_and_start(search), *[0.5] * 9)
    lines = at.record.read_bytes().splitlines(keepends=True)
    at.record.write_bytes(b"".join(lines[:-1]))  # killed before the end was written
    before = seconds_searched(load_experiment("x", at.root.parent).history)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 3600)
    again = resume()
    again.begin()
    assert again.history.trials[0].state == "completed"
    assert seconds_searched(load_experiment("x", at.root.parent).history) == pytest.approx(before, abs=1)


def value(trial: Trial, k: int) -> float:
    """What its config decides; ties occur."""
    return round(1 - abs(float(trial.config["lr"]) - 0.1) - 0.5 / k, 2)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_an_extended_search_is_the_one_that_had_more_trials_from_the_start(tmp_path: Path, sampler: str) -> None:
    folder = tmp_path / "experiments"
    with searching(folder, "whole", num_samples=26, sampler=sampler) as whole:
        play(whole, value)
    with searching(folder, "extended", end="completed", num_samples=13, sampler=sampler) as search:
        play(search, value)
    for num_samples in (15, 20, 26):
        assert search.all_begun
        search = resumed(search.paths, {"num_samples": num_samples})
        play(search, value)
        search.end("completed")
        search.close()
    assert len(search.history.trials) == 26
    assert {"stopped", "completed"} == {trial.state for trial in search.history.trials}
    assert outcome(tmp_path, "extended") == outcome(tmp_path, "whole")


def test_a_search_that_is_killed_right_after_its_extension_was_written_stays_extended(tmp_path: Path) -> None:
    with searching(tmp_path, "x", end="completed") as search:
        pass
    assert load_experiment("x", tmp_path).state == "finished"
    Search.resume(search.paths, {"num_samples": 30}).close()
    assert load_experiment("x", tmp_path).state == "interrupted"
    again = Search.resume(search.paths)
    assert (again.num_trials, again.spec.settings.num_samples) == (30, 30)
    again.close()


ERROR, DIED = "ValueError: no", "its worker died"


def happen(search: Search, number: int, what: str | Result | None) -> None:
    """To a trial, which is begun first: a result, an error, the loss of its worker, or nothing yet."""
    while number >= len(search.history.trials):
        ask_and_start(search)
    if isinstance(what, Result):
        tell(search, number, what)
    elif what in (DIED, OUT_OF_MEMORY):
        search.lost(number, what, "text")
        search.waiting.clear()  # tried again at once
    elif what:
        search.failed(number, f"Traceback (most recent call last):\n  File x\n{what}\n")


@pytest.mark.parametrize(
    ("hopeless", "events"),
    [
        (True, [(0, None), *((n, f"OSError: no page {17 * n} at 0x7f01a{n}") for n in (1, 2, 3))]),
        (True, [(0, None), (1, None), (0, OUT_OF_MEMORY), (1, OUT_OF_MEMORY), (0, OUT_OF_MEMORY)]),
        (False, [(0, ERROR), (1, ERROR), (2, "ValueError: yes")]),
        (False, [(0, ERROR), (1, "TypeError: no"), (2, ERROR), (3, ERROR)]),
        (False, [(0, f"{ERROR} 1"), (1, f"{ERROR} one"), (2, f"{ERROR} 3")]),
        (False, [(0, result_of(1, 0.5)), *((n, ERROR) for n in range(5))]),  # the first had a result
        (False, [(n, diverged(1)) for n in range(4)]),
        (False, [(n, DIED) for n in (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)]),
        (False, [(0, OUT_OF_MEMORY)] * 3),  # it may need more than others
        (False, [(1, None), *[(0, OUT_OF_MEMORY)] * 3]),  # the other may be slow, on a machine that is not full
        (False, [(1, result_of(1, 0.5)), *((n, OUT_OF_MEMORY) for n in (0, 0, 1, 1))]),
    ],
    ids=range(11),
)
def test_a_search_is_hopeless_when_all_trials_so_far_fail_alike(search, hopeless, events) -> None:
    for number, what in events:
        assert not search.hopeless
        happen(search, number, what)
    assert search.hopeless == hopeless
    happen(search, 0, DIED)
    assert search.hopeless == hopeless, "nothing takes that back"


def test_a_hopeless_search_that_is_resumed_is_hopeless_again_at_the_next_such_error(tmp_path: Path) -> None:
    with searching(tmp_path, "x", end="error") as search:
        for number in range(3):
            happen(search, number, ERROR)
    assert load_experiment("x", tmp_path).state == "interrupted"
    again = resumed(search.paths)
    assert not again.hopeless
    happen(again, 3, ERROR)
    assert again.hopeless
    again.close()


# ---- bugs that were found in going on -------------------------------------------------------------------


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


@pytest.mark.parametrize("budget", [{}, {"seed": 5}, {"num_samples": 99, "grace_period": 3.0}])
def test_nothing_but_a_budget_extends_a_search(folder, extensions, budget) -> None:
    ended(folder, "interrupted")
    with pytest.raises(TuneAppError, match=r"no budget.*allowed: num_samples, time_budget"):
        api.extend("x", budget, folder, quiet=True)
    assert extensions == []


def test_a_target_that_was_reached_does_not_end_an_extension(folder, extensions) -> None:
    ended(folder, "interrupted", target=0.55)
    api.extend("x", {"num_samples": 99}, folder, quiet=True)
    assert extensions == [{"num_samples": 99, "target": None}]


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
