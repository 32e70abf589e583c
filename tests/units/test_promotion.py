"""ASHA by promotion: trials pause at rungs, and the best go on.

Every decision of random histories is computed anew in tests/simulations/test_histories.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.invariants import check_decisions
from tests.made_up import WORKER, ask_and_start, give, give_one, play, resumed, searching
from tune_app.engine.asha import reached
from tune_app.engine.search import Search
from tune_app.experiment.history import replay
from tune_app.experiment.record import read_entries
from tune_app.experiment.settings import Settings
from tune_app.experiment.trial import Trial
from tune_app.storage.load import load_experiment

CNN = {"level": "cnn", "lr": {"loguniform": [0.2, 1]}}
"""Without the baseline, whose lr is 0.1."""


def test_each_rung_is_reached_by_exactly_one_result_whatever_the_grid_of_results() -> None:
    for results_per_epoch in (1, 2, 3, 4, 7, 10):
        settings = Settings(max_epochs=27, grace_period=1, results_per_epoch=results_per_epoch)
        at = [reached(settings, k / results_per_epoch) for k in range(1, 27 * results_per_epoch + 1)]
        assert [rung for rung in at if rung is not None] == [1, 3, 9], "the end is none"


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    """Nine trials of one family, whose rungs are 1 and 3 of 9 epochs."""
    with searching(tmp_path, "x", CNN, scheduler="promotion", num_samples=9) as search:
        yield search


def states(search: Search) -> list[str]:
    return [trial.state for trial in search.history.trials]


def go_on(search: Search, *values: float) -> int:
    """Give a worker the next work, a new trial or a promoted one, and these results."""
    attempt = search.next_attempt()
    number = attempt.trial.number
    search.started(number, WORKER)
    for k, value in enumerate(values, attempt.after + 1):
        give_one(search, number, k, value)
    return number


def test_a_trial_pauses_at_a_rung_until_it_is_one_of_the_best_third_there(search: Search) -> None:
    assert go_on(search, 0.9) == 0
    assert go_on(search, 0.5) == 1
    assert states(search) == ["paused", "paused"]
    assert go_on(search, 0.4) == 2
    # The best of three goes on before a fourth begins, from where it paused.
    assert go_on(search, 0.91, 0.92) == 0
    assert states(search) == ["paused", "paused", "paused"]
    (promotion,) = search.history.trials[0].promotions
    assert (promotion["rung"], promotion["cutoff"], promotion["of"]) == (1, 0.9, 3)
    # The fourth is better than a third of four, but one has been promoted of that many already.
    assert go_on(search, 0.6) == 3
    assert go_on(search, 0.6) == 4


def test_of_two_that_can_go_on_from_a_rung_the_one_that_has_waited_longer_does(search: Search) -> None:
    for number, value in zip([ask_and_start(search) for _ in range(6)], [0.8, 0.9, *[0.1] * 4], strict=True):
        give_one(search, number, 1, value)
    assert [go_on(search, 0.8), go_on(search, 0.9)] == [0, 1]


def the_later_the_better(trial: Trial, k: int) -> float:
    return trial.number / 10 + k / 1000


def test_nobody_waits_idle_while_a_trial_can_be_promoted_and_at_the_end_the_rest_is_stopped(search, at) -> None:
    play(search, the_later_the_better)  # in which somebody is always ready
    assert search.history.count("paused") == 9 - search.history.count("completed")
    assert not search.ready and not search.history.at_work
    search.end("completed")
    assert set(states(search)) == {"completed", "stopped"}
    worst = search.history.trials[0]
    assert worst.reason == "epoch 1: 0.001 below the cutoff 0.601 of 8 trials at this rung"
    assert not any(at.states.glob("00000-*"))
    assert load_experiment("x", at.root.parent).history.trials == search.history.trials
    check_decisions(list(read_entries(at.record)))


def test_a_worker_waits_where_a_trial_at_work_could_have_another_promoted(search: Search) -> None:
    for _ in range(8):
        go_on(search, 0.5)
    last = ask_and_start(search)
    # Two of eight have been promoted or wait for it; a third can be only when the ninth has reported.
    while search.ready:
        go_on(search, 0.5, 0.5)
    assert not search.all_begun
    give(search, last, 0.1)
    assert search.ready or search.all_begun


def test_an_interrupted_search_keeps_its_paused_trials_and_a_finished_one_ends_them(search, at) -> None:
    for value in (0.9, 0.5, 0.4):
        go_on(search, value)
    search.end("time budget")
    experiment = load_experiment("x", at.root.parent)
    assert [experiment.trial_state(trial) for trial in experiment.history.trials] == ["paused"] * 3
    search.end("target")
    reasons = [trial.reason for trial in search.history.trials]
    assert reasons[0] == "the search ended before it was promoted from rung 1"
    assert reasons[1] == "epoch 1: 0.5 below the cutoff 0.9 of 2 trials at this rung"


def test_patience_is_out_when_so_many_trials_have_not_improved_the_best_by_enough(at, tmp_path) -> None:
    settings: dict[str, Any] = {"reduction_factor": 1000, "patience": 3, "min_improvement": 0.1, "num_samples": 50}
    out = []
    with searching(tmp_path, "x", CNN, scheduler="promotion", **settings) as search:
        for value in (0.5, 0.55, 0.59, 0.61, 0.62, 0.62, 0.7):  # only 0.61 is better by more than 0.1
            give(search, ask_and_start(search), value)
            out.append((len(search.history.unimproved), search.history.out_of_patience))
    assert out == [(0, False), (1, False), (2, False), (0, False), (1, False), (2, False), (3, True)]
    assert len(replay(at.record).unimproved) == 3


def test_an_extension_has_all_its_patience_though_the_trials_that_paused_wait_again(at, tmp_path) -> None:
    with searching(tmp_path, "x", CNN, "patience", scheduler="promotion", patience=2, num_samples=9) as search:
        for value in (0.5, 0.4, 0.3):
            go_on(search, value)
        assert search.history.out_of_patience
    extended = Search.resume(at, {"num_samples": 12})
    assert states(extended) == ["paused"] * 3
    assert not extended.history.out_of_patience
    extended.close()


def test_patience_does_not_count_the_trial_that_is_the_best_nor_one_trial_twice(tmp_path: Path) -> None:
    with searching(tmp_path, "x", CNN, scheduler="promotion", patience=2, num_samples=9) as search:
        for value in (0.5, 0.4, 0.3):
            go_on(search, value)
        assert search.history.unimproved == {1, 2}
        go_on(search, 0.6, 0.6)  # trial 0 is promoted and improves the best; then it pauses
        assert search.history.unimproved == set()
        go_on(search, 0.45)
        go_on(search, 0.44)
        assert search.history.unimproved == {3, 4}
        assert search.history.out_of_patience


def test_without_a_best_nobody_is_out_of_patience(tmp_path: Path) -> None:
    with searching(tmp_path, "x", CNN, patience=1, num_samples=9) as search:
        search.failed(ask_and_start(search), "ValueError: no")
        assert not search.history.out_of_patience


@pytest.mark.parametrize("reason", ["completed", "target"])
def test_by_promotion_too_an_extended_search_is_the_one_that_had_more_trials_from_the_start(tmp_path, reason):
    def value(trial: Trial, k: int) -> float:
        return (trial.number * 7 % 27 + k) / 40

    def results(search: Search) -> list[list[tuple[int, str]]]:
        return [[(result.k, result.decision) for result in trial.results] for trial in search.history.trials]

    with searching(tmp_path, "whole", CNN, scheduler="promotion", num_samples=27) as whole:
        play(whole, value)
    with searching(tmp_path, "extended", CNN, reason, scheduler="promotion", num_samples=12) as search:
        play(search, value)
    extended = resumed(search.paths, {"num_samples": 27})
    play(extended, value)
    extended.end("completed")
    extended.close()
    assert results(extended) == results(whole)
    assert replay(extended.paths.record) == extended.history
    check_decisions(list(read_entries(extended.paths.record)))


def test_only_trial_0_is_the_baseline_that_does_not_pause(tmp_path: Path) -> None:
    with searching(tmp_path, "x", {"level": "cnn", "lr": 0.1}, scheduler="promotion", num_samples=9) as search:
        give(search, ask_and_start(search), 0.5)
        give(search, ask_and_start(search), 0.4)
    assert states(search) == ["running", "paused"]


def test_in_the_end_the_best_of_each_family_is_trained_to_the_end_however_few_there_are(at, tmp_path) -> None:
    space = {"level": {"choice": ["fit", "cnn"]}, "lr": {"loguniform": [0.2, 1]}}
    with searching(tmp_path, "x", space, "completed", scheduler="promotion", num_samples=4, seed=1) as search:
        play(search, the_later_the_better)
    ended = {(trial.family, trial.state): trial.number for trial in search.history.trials}
    of_family = {trial.family: trial.number for trial in search.history.trials}  # the last is the best
    assert {family: number for (family, state), number in ended.items() if state == "completed"} == of_family
    assert set(of_family) == {"logistic", "cnn"}
    assert search.history.count("completed") == 2
    check_decisions(list(read_entries(at.record)))
