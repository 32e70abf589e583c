"""A confirmation without Ray: what is run, what it says, and that the test images are read once."""

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import made_up, own_task
from tests.made_up import WORKER, ask_and_start, diverged, give, result_of, searching, spec_of
from tests.refused import refusal
from tune_app import session
from tune_app.bundle.export import confirmed_metrics
from tune_app.cluster.connect import Where
from tune_app.confirmation import confirm, try_on_test_data, values_with_intervals
from tune_app.confirmation import spec_of as confirmation_spec
from tune_app.engine.race import Race
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.findings import Confirmation, Findings, candidates_of, racing_seeds
from tune_app.experiment.race import FIRST_TEST
from tune_app.experiment.spec import Confirming, Paths, Spec
from tune_app.experiment.statistics import mean_interval, proportion_interval
from tune_app.experiment.trial import Trial
from tune_app.output.confirmation import answer
from tune_app.output.summary import confirmation_summary
from tune_app.session import Caller
from tune_app.storage.load import confirmations, load_confirmation, load_experiment, remove_experiment
from tune_app.storage.location import paths
from tune_app.task import loading
from tune_app.task.declaration import read_task
from tune_app.task.images import sources
from tune_app.task.loop.state import packed
from tune_app.task.result import Result
from tune_app.task.task import Interval

Value = Callable[[dict[str, Any], int], float | None]
"""The metric of a run, from config and seed; None: it diverges."""

SPACE = {"level": "linear", "lr": {"loguniform": [0.01, 1]}}
CALLER = Caller(Where(), print, lambda *_: None)


@pytest.fixture
def at(tmp_path: Path) -> Paths:
    """A finished search: four trials of level linear, with 0.90 to 0.93 at epochs 3, 2, 1 and 2."""
    with searching(tmp_path, "x", SPACE, "completed", max_epochs=3, early_stopping=False) as search:
        for values in ((0.5, 0.6, 0.90), (0.5, 0.91), (0.92,), (0.6, 0.93, 0.7)):
            give(search, ask_and_start(search), *values)
        for trial in search.history.trials:
            if not trial.ended:
                search.ended(trial.number, "stopped", "by the test")
    return search.paths


def by_lr(config: dict[str, Any], seed: int) -> float:
    """The same config is the same but for a little luck."""
    return 0.9 + zlib.crc32(str(config["lr"]).encode()) % 100 / 2000 + seed % 100 / 100_000


def begin(at: Paths, top: int = 3, seeds: int = 4, number: int = 1) -> Search:
    history = load_experiment("x", at.root.parent).history
    spec = confirmation_spec(
        history.spec, Confirming(number=number, candidates=candidates_of(history, top), seeds=seeds, epochs=9)
    )
    search = Search.create(spec, at.confirmation(number), Race)
    search.begin()
    return search


ALWAYS_7 = packed({"model": {"lin.weight": torch.zeros(10, 784), "lin.bias": torch.eye(10)[7]}})
"""The state of a model that sees a 7 in every image."""


def play(search: Search, value: Value = by_lr, most: int | None = None) -> None:
    """Run what there is to run, one after the other, at most so many."""

    def result(run: Trial, k: int) -> Result:
        there = value(run.config, run.seed)
        return diverged(k) if there is None else result_of(k, there)

    made_up.play(search, result, most, ALWAYS_7)


def read(at: Paths) -> Confirmation:
    confirmation = load_confirmation(load_experiment("x", at.root.parent))
    assert confirmation is not None
    return confirmation


def measuring(spec: Spec) -> session.Test:
    """What measures on the test data in this process."""
    return partial(loading.tested, spec.task, spec.data.source, spec.home)


def one_number(*_: object) -> loading.Tested:
    """One number for all of the items, and a loss of which no item has a part."""
    return loading.Tested(n=40, digest="d", loss=0.7, losses=None, values={"valid_accuracy": 0.0}, resampled={})


def finish(search: Search, value: Value = by_lr, test: session.Test = one_number) -> None:
    play(search, value)
    try_on_test_data(search, test)
    search.end("completed")
    search.close()


def test_the_best_configs_race_once_each_at_the_epochs_of_their_best_results(at: Paths) -> None:
    history = load_experiment("x", at.root.parent).history
    candidates = candidates_of(history, 3)
    assert [(c.trial, c.epochs, c.value) for c in candidates] == [(3, 2, 0.93), (2, 1, 0.92), (1, 2, 0.91)]
    history.trials[2].config = history.trials[3].config
    assert [c.trial for c in candidates_of(history, 9)] == [3, 1, 0]


def test_no_seed_both_chooses_and_measures(at: Paths) -> None:
    search = begin(at)
    finish(search)
    racing, measuring = racing_seeds(search.spec), search.spec.measuring_seeds
    assert not set(racing) & set(measuring)
    assert not {t.seed for t in load_experiment("x", at.root.parent).history.trials} & {*racing, *measuring}
    measured = [t for t in search.history.trials if t.seed not in racing]
    assert [t.seed for t in measured] == measuring
    assert len({t.config["lr"] for t in measured}) == 1


def test_the_weights_of_the_median_seed_are_tried_on_the_test_images_and_kept(at: Paths) -> None:
    search = begin(at)
    finish(search, test=measuring(search.spec))
    confirmation = read(at)
    tested, median = confirmation.tested, confirmation.findings.measured.median
    assert tested is not None and median is not None
    values = sorted(run.results[-1].valid["valid_accuracy"] for run in confirmation.findings.measured.runs)
    assert median.results[-1].valid["valid_accuracy"] == values[1]  # of four the lesser of the two in the middle
    labels = sources.load_test().y  # type: ignore[union-attr]
    share, interval = tested["values"]["valid_accuracy"]
    assert (share, tested["items"]) == ((labels == 7).sum() / 10_000, 10_000)  # the test's weights always say 7
    assert interval == list(proportion_interval((labels == 7).sum(), 10_000))
    loss, interval = tested["values"]["valid_loss"]
    each = np.where(labels == 7, 0, 1) + np.log(9 + np.e) - 1
    assert loss == pytest.approx(each.mean()) and interval == pytest.approx(mean_interval(each.tolist()))
    (kept,) = at.confirmation(1).states.iterdir()
    assert kept.name == f"{median.number:05d}-{len(median.results):06d}.safetensors"


def test_the_test_images_are_read_after_everything_else_and_once(at, monkeypatch) -> None:
    reads: list[int] = []
    load = sources.load_test
    search = begin(at)
    monkeypatch.setattr(
        sources, "load_test", lambda source: reads.append(len(search.history.trials)) or load(source)
    )
    play(search, most=5)
    search.end("interrupted")
    assert reads == []
    search.close()
    search = Search.resume(at.confirmation(1), strategy=Race)
    search.begin()
    finish(search, test=measuring(search.spec))
    assert reads == [len(search.history.trials)]
    again = confirm(load_experiment("x", at.root.parent), 3, 4, False, CALLER)
    assert again.tested == read(at).tested
    assert len(reads) == again.tests_read == 1


def test_another_confirmation_draws_other_seeds_and_its_reading_is_counted(at: Paths) -> None:
    finish(first := begin(at))
    finish(second := begin(at, number=2))
    assert not {t.seed for t in first.history.trials} & {t.seed for t in second.history.trials}
    assert confirmations(load_experiment("x", at.root.parent)) == [1, 2]
    assert confirmation_summary(read(at))["test"]["times_read"] == 2
    assert any("read 2 times for this search" in line for line in answer(read(at)))


def test_the_cheapest_of_those_that_cannot_be_told_apart_wins(at: Paths) -> None:
    def alike(config: dict[str, Any], seed: int) -> float:
        return 0.9 + zlib.crc32(f"{config['lr']}{seed}".encode()) % 100 / 10_000

    finish(begin(at), alike)
    confirmation = read(at)
    assert [s.state for s in confirmation.findings.standings] == ["tie"] * 3
    assert confirmation.winner is not None and confirmation.winner.trial == 2  # one epoch; the others take two
    assert any(
        "trials 3, 2, 1 cannot be told apart; this is the cheapest of them" in line for line in answer(confirmation)
    )


def test_a_seed_that_fails_is_counted_and_left_out_of_the_mean(at: Paths) -> None:
    search = begin(at, top=1, seeds=5)
    bad = search.spec.measuring_seeds[1]
    finish(search, lambda config, seed: None if seed == bad else 0.95 + seed % 7 / 1000)
    confirmation = read(at)
    measured = confirmation.findings.measured
    assert (measured.failed, len(measured.succeeded)) == (1, 4)
    assert measured.mean == pytest.approx(np.mean([0.95 + r.seed % 7 / 1000 for r in measured.succeeded]))
    assert any("1 of 5 seeds failed" in line for line in answer(confirmation))


def test_when_all_seeds_fail_nothing_is_tested_and_it_is_said(at: Paths) -> None:
    finish(begin(at, top=1, seeds=3), lambda config, seed: None)
    confirmation = read(at)
    assert confirmation.finished and confirmation.tested is None
    assert answer(confirmation)[0].startswith("All 3 seeds of the winner failed: diverged")


def test_a_worker_may_begin_a_round_before_the_one_before_is_judged_and_a_run_too_many_counts_for_nothing(at):
    search = begin(at, top=2, seeds=2)
    begun: list[Trial] = []
    while search.ready:
        begun.append(search.next_attempt().trial)
        search.started(begun[-1].number, WORKER)
    rounds = racing_seeds(search.spec)
    assert [run.seed for run in begun] == [seed for seed in rounds for _ in range(2)]  # none measures a winner
    assert not search.all_begun
    better = Findings(search.history).candidates[0].config
    for run in begun:
        too_many = rounds.index(run.seed) >= FIRST_TEST  # of the worse, which is out at the first test
        give(search, run.number, *[(0.95 if run.config == better else 0.8) - 0.1 * too_many] * 2)
    findings = Findings(search.history)
    assert [standing.state for standing in findings.standings] == ["tie", "out"]
    assert findings.mean(1) == pytest.approx(0.8)
    search.close()


def test_data_without_test_images_are_confirmed_without_a_test(at: Paths, small_data: Path) -> None:
    search = begin(at, top=1)
    data = search.spec.data.model_copy(update={"source": str(small_data)})
    finish(search, test=measuring(search.spec.model_copy(update={"data": data})))
    assert read(at).tested is None
    assert "There are no test data, so nothing was tested." in answer(read(at))


def test_an_unfinished_confirmation_of_another_size_is_not_gone_on_with(at: Paths) -> None:
    search = begin(at)
    search.end("interrupted")
    search.close()
    with pytest.raises(TuneAppError, match=r"--top 3 --seeds 4 was begun and not finished; allowed: .*--again"):
        confirm(load_experiment("x", at.root.parent), 2, 9, False, CALLER)


def test_a_search_without_result_cannot_be_confirmed(tmp_path: Path) -> None:
    with searching(tmp_path, "y", end="interrupted"):
        pass
    confirming = (load_experiment("y", tmp_path), 5, 10, False, CALLER)
    assert refusal(confirm, *confirming) == "y: has no result to confirm"


def test_an_experiment_that_is_being_confirmed_is_not_removed(at: Paths) -> None:
    search = begin(at)
    assert "is being confirmed right now" in refusal(remove_experiment, "x", at.root.parent)
    search.close()
    remove_experiment("x", at.root.parent)
    assert not at.root.exists()


# ---- a task of one's own, of whose metric nobody knows the best value ----------------------------------

VALUES = {0.1: [0.9, 0.7] * 3, 0.2: [0.6, 0.85] * 3, 0.3: [-0.9] * 6}
"""By learning rate and round: the second is in the mean below the first, which may be chance."""


@pytest.fixture
def unbounded(tmp_path: Path) -> Search:
    """The confirmation of a search that tried these learning rates, each as good as the others there."""
    spec = spec_of("x", {"lr": {"grid": list(VALUES)}}, max_epochs=1)
    spec = spec.model_copy(update={"task": read_task(own_task.write(tmp_path))})
    search = Search.create(spec, paths(tmp_path, "x"))
    search.begin()
    made_up.play(search, lambda *_: 0.3)
    search.end("completed")
    search.close()
    return begin(paths(tmp_path, "x"))


def by_round(search: Search) -> Value:
    rounds = racing_seeds(search.spec)
    return lambda config, seed: VALUES[config["lr"]][rounds.index(seed)] if seed in rounds else 0.3 + seed % 7


def test_where_nobody_knows_the_best_value_only_the_test_tells_configs_apart(unbounded: Search) -> None:
    finish(unbounded, by_round(unbounded))
    confirmation = read(paths(unbounded.paths.root.parent.parent, "x"))
    found = confirmation.findings
    states = {c.config["lr"]: s.state for c, s in zip(found.candidates, found.standings, strict=True)}
    assert states == {0.1: "tie", 0.2: "tie", 0.3: "out"}
    assert confirmation.winner and confirmation.winner.config["lr"] == 0.1  # no cheaper, but tried first


def test_where_it_is_known_what_is_a_tenth_behind_is_no_tie(unbounded: Search) -> None:
    task = unbounded.spec.task
    metric = task.metric.model_copy(update={"interval": Interval(le=1)})
    play(unbounded, by_round(unbounded))
    spec = unbounded.spec.model_copy(update={"task": task.model_copy(update={"metrics": {metric.name: metric}})})
    states = [s.state for s in Findings(replace(unbounded.history, spec=spec)).standings]
    assert sorted(states) == ["behind", "out", "tie"]
    unbounded.close()


def test_one_number_for_all_test_items_has_the_interval_of_the_bootstrap_wherever_one_is_shown(run, tmp_path):
    few = ("--num-samples", 1, "--max-epochs", 2)
    run("search", "diabetes", "--metric", "valid_r2", "--name", "x", *few, "--in-process")
    said = run("confirm", "x", "--top", 1, "--seeds", 2, "--in-process", "--quiet").stdout
    told = json.loads(run("confirm", "x", "--json").stdout)["test"]
    low, high = told["interval"]
    assert 0 < low < told["r2"] < high < 1
    assert f"Test r2: {told['r2']:.4f}, 95 % interval {low:.4f} to {high:.4f}, on 92 items, read once\n" in said
    run("report", "x", "-o", "x.html")
    assert f"{told['r2']:.4f}, 95 % interval {low:.4f} to {high:.4f}" in (tmp_path / "x.html").read_text()
    manifest = json.loads(run("export", "x", "-o", "best", "--json").stdout)
    assert manifest["metrics"]["test_r2_interval"] == [low, high]
    assert f"| test r2 | {told['r2']:.4f} ({low:.4f} to {high:.4f}) |" in (tmp_path / "best/README.md").read_text()


def test_a_test_value_that_has_no_interval_is_shown_without(unbounded: Search) -> None:
    finish(unbounded, by_round(unbounded))
    confirmation = read(paths(unbounded.paths.root.parent.parent, "x"))
    shown = [(m.on_test, *found) for m, found in confirmation.test_values.items()]
    assert shown == [("test_accuracy", 0.0, None), ("test_loss", 0.7, None)]
    assert "Test accuracy: 0.0000 on 40 items, read once" in answer(confirmation)
    assert confirmation_summary(confirmation)["test"]["interval"] is None
    metrics = confirmed_metrics(confirmation)
    assert (metrics["test_accuracy"], metrics["test_loss"]) == (0, 0.7) and "test_accuracy_interval" not in metrics


def test_a_test_value_that_is_not_finite_is_left_out_and_said() -> None:
    values: dict[str, Any] = {"valid_r2": math.nan, "valid_error": np.array([1.0, 2.0])}
    found = loading.Tested(2, "digest", math.inf, None, values, {})
    assert list(values_with_intervals(found)) == ["valid_error"]
