"""What must be quick, as whole processes. scripts/benchmark.py measures searches."""

import os
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import tune_app
from tests.made_up import ask_and_start, give, searching, tutorial_experiment

pytestmark = pytest.mark.alone


def quickest(folder: Path, *arguments: str) -> float:
    """Seconds of the quickest of three runs: the machine may be busy."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert tune_app(folder, *arguments).returncode == 0
        times.append(time.perf_counter() - start)
    return min(times)


def test_help_answers_within_half_a_second(tmp_path: Path) -> None:
    assert quickest(tmp_path, "--help") < 0.5


def test_status_of_100_trials_answers_within_1_s(tmp_path: Path) -> None:
    with searching(tmp_path / "experiments", "x", num_samples=100, end="completed") as search:
        for number in range(100):
            give(search, ask_and_start(search), *[0.5 + number / 1000] * 9)
    assert quickest(tmp_path, "status", "x") < 1


def test_a_thousand_trials_fit_into_eight_megabytes_and_take_less_than_ten_seconds(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing is at stake
    made = tutorial_experiment(tmp_path / "experiments", "made", 1000, scheduler="stopping")
    assert made.history.results > 8000
    begin = time.perf_counter()
    done = tune_app(tmp_path, "report", "made")
    assert time.perf_counter() - begin < 10
    assert done.stdout == "wrote made-report.html\n"
    assert (tmp_path / "made-report.html").stat().st_size < 8_000_000
