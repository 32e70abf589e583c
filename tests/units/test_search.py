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
from tune_app.engine.hopeless import OUT_OF_MEMORY
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.history import replay
from tune_app.experiment.record import RecordWriter, read_entries
from tune_app.experiment.spec import Paths
from tune_app.experiment.trial import Trial
from tune_app.output.summary import seconds_searched
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths


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


def test_a_stop_says_why_in_words(search: Search) -> None:
    first, second = ask_and_start(search), ask_and_start(search)
    search.history.trials[second].family = search.history.trials[first].family
    give(search, first, 0.934)
    give(search, second, 0.912)
    trial = search.history.trials[second]
    assert trial.state == "stopped"
    assert trial.reason == "epoch 1: 0.912 below the cutoff 0.934 of 1 trial at this rung"


@pytest.mark.parametrize(("reason", "state"), [("target", "finished"), ("time budget", "interrupted")])
def test_how_a_search_ended_decides_whether_it_is_finished(tmp_path: Path, reason: str, state: str) -> None:
    with searching(tmp_path, "y", end=reason):
        pass
    assert load_experiment("y", tmp_path).state == state


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


def test_a_trial_whose_state_is_lost_goes_on_from_the_one_before_and_nothing_is_judged_twice(
    search, at, resume
) -> None:
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


def test_the_time_between_an_interruption_and_its_resumption_does_not_count(
    search, at, resume, monkeypatch
) -> None:
    give(search, ask_and_start(search), *[0.5] * 9)
    lines = at.record.read_bytes().splitlines(keepends=True)
    at.record.write_bytes(b"".join(lines[:-1]))  # killed before the end was written
    before = seconds_searched(load_experiment("x", at.root.parent))
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 3600)
    again = resume()
    again.begin()
    assert again.history.trials[0].state == "completed"
    assert seconds_searched(load_experiment("x", at.root.parent)) == pytest.approx(before, abs=1)


def value(trial: Trial, k: int) -> float:
    """What its config decides; ties occur."""
    return round(1 - abs(float(trial.config["lr"]) - 0.1) - 0.5 / k, 2)


def test_an_extension_is_written_and_what_was_there_stays(search, at, resume) -> None:
    before, more = at.record.read_bytes(), {"num_samples": 30, "time_budget": 90.0}
    assert resume(more).num_trials == 30
    assert at.record.read_bytes().startswith(before)
    assert replay(at.record).spec.settings == search.spec.settings.model_copy(update=more)


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


def fail(search: Search, *errors: str) -> None:
    for error in errors:
        search.failed(ask_and_start(search), f"Traceback (most recent call last):\n  File x\n{error}\n")


def test_three_trials_with_one_error_and_no_result_are_hopeless_whoever_still_runs(search: Search) -> None:
    ask_and_start(search)
    fail(search, "OSError: no page 17 at 0x7f01ab", "OSError: no page 4 at 0x7f99cd")
    assert not search.hopeless
    fail(search, "OSError: no page 256 at 0x1")
    assert search.hopeless


@pytest.mark.parametrize(
    "errors",
    [
        ["ValueError: no", "ValueError: no", "ValueError: yes"],
        ["ValueError: no", "TypeError: no", "ValueError: no", "ValueError: no"],
        ["ValueError: no 1", "ValueError: no one", "ValueError: no 3"],
    ],
)
def test_different_errors_are_not_hopeless(search: Search, errors: list[str]) -> None:
    fail(search, *errors)
    assert not search.hopeless


def test_where_one_trial_had_a_result_no_errors_are_hopeless_though_it_failed_too(search: Search) -> None:
    number = ask_and_start(search)
    give_one(search, number, 1, 0.5)
    search.failed(number, "ValueError: no")
    fail(search, *["ValueError: no"] * 4)
    assert not search.hopeless


def test_trials_that_diverge_or_lose_their_workers_alike_are_not_hopeless(search: Search) -> None:
    for _ in range(3):
        tell(search, ask_and_start(search), diverged(1))
        lose(search, *[ask_and_start(search)] * 3, reason="its worker died")
    fail(search, "ValueError: no")
    assert not search.hopeless


def lose(search: Search, *numbers: int, reason: str = OUT_OF_MEMORY) -> None:
    for number in numbers:
        search.lost(number, reason, "text")
        search.waiting.clear()  # tried again at once


def test_three_workers_of_two_trials_that_were_killed_for_want_of_memory_are_hopeless(search: Search) -> None:
    first, second = ask_and_start(search), ask_and_start(search)
    lose(search, first, second)
    assert not search.hopeless
    lose(search, first)
    assert search.hopeless
    lose(search, second, reason="its worker died")
    assert search.hopeless, "nothing takes that back"


def test_workers_without_memory_are_not_hopeless_while_a_trial_has_lost_none_or_has_a_result(search) -> None:
    first, second = ask_and_start(search), ask_and_start(search)
    lose(search, first, first, first)
    assert not search.hopeless, "the other may be slow, on a machine that is not full"
    give_one(search, second, 1, 0.5)
    lose(search, second, second)
    assert not search.hopeless


def test_a_hopeless_search_that_is_resumed_is_hopeless_again_at_the_next_such_error(tmp_path: Path) -> None:
    with searching(tmp_path, "x", end="error") as search:
        fail(search, *["ValueError: no"] * 3)
    assert load_experiment("x", tmp_path).state == "interrupted"
    again = resumed(search.paths)
    assert not again.hopeless
    fail(again, "ValueError: no")
    assert again.hopeless
    again.close()
