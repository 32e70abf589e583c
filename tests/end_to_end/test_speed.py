"""What must be quick, as whole processes. scripts/benchmark.py measures searches."""

import os
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import tune_app
from tests.made_up import tutorial_experiment

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


def test_a_thousand_trials_are_shown_in_two_seconds_and_reported_in_ten_and_eight_megabytes(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing is at stake
    made = tutorial_experiment(tmp_path / "experiments", "made", 1000, scheduler="stopping")
    assert made.history.results > 8000
    begin = time.perf_counter()
    done = tune_app(tmp_path, "report", "made")
    assert time.perf_counter() - begin < 10
    assert done.stdout == "wrote made-report.html\n"
    assert (tmp_path / "made-report.html").stat().st_size < 8_000_000
    assert quickest(tmp_path, "status", "made") < 2
