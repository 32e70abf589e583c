"""A task of one's own on a real Ray: what is wrong with it is one line, and nothing stays behind."""

from pathlib import Path

from tests.bad_tasks import BEFORE_ANY_TRIAL, IN_TRIALS
from tests.end_to_end.conftest import left_in, temporary, tune_app
from tests.own_task import write
from tests.refused import error_of
from tune_app.storage.load import load_experiment

SEARCH = ("search", "space.yaml", "--name", "x", "--no-dashboard")


def test_a_task_that_exits_before_any_trial_leaves_no_experiment(tmp_path: Path) -> None:
    """All that can be wrong then: tests/units/test_bad_task.py."""
    expected = BEFORE_ANY_TRIAL["load exits"].expected(tmp_path)
    assert error_of(tune_app(tmp_path, *SEARCH, timeout=60)).startswith(expected)
    assert not list((tmp_path / "experiments").glob("*"))
    assert left_in(temporary(tmp_path)) == []


def test_a_level_that_exits_in_every_trial_is_the_outcome_of_the_search(tmp_path: Path) -> None:
    expected = IN_TRIALS["a level exits"].expected(tmp_path)
    done = tune_app(tmp_path, *SEARCH, "--num-samples", 9, timeout=120)
    assert done.returncode == 1
    assert f"\nNo trial succeeded. Trial 0: error: {expected}"[:300] in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert len(load_experiment("x", tmp_path / "experiments").history.trials) < 9
    assert left_in(temporary(tmp_path)) == []


def test_what_a_task_prints_and_its_consent_on_ray(tmp_path: Path) -> None:
    write(tmp_path, ('"""One hidden layer."""', 'print("hello")'))
    done = tune_app(tmp_path, *SEARCH)
    assert (done.returncode, "hello" in done.stdout + done.stderr) == (0, False), done.stderr
    for mark in (tmp_path / ".cache" / "tune_app" / "tasks").iterdir():
        mark.unlink()
    refused = tune_app(tmp_path, "extend", "x", "--num-samples", 3, "--no-dashboard")
    assert refused.stderr.startswith("Error: x: runs the code of a task that you have not run here before")
    more = ("--num-samples", 3, "--run-its-code", "--verbose", "--no-dashboard")
    done = tune_app(tmp_path, "extend", "x", *more)
    assert (done.returncode, "hello" in done.stdout + done.stderr) == (0, True), done.stderr
