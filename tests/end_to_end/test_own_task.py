"""A task of one's own on a real Ray: what is wrong with it is one line, and nothing stays behind."""

from pathlib import Path

from tests.bad_tasks import BEFORE_ANY_TRIAL, IN_TRIALS
from tests.end_to_end.conftest import left_in, temporary, tune_app
from tests.refused import error_of
from tune_app.storage.load import load_experiment

SEARCH = ("search", "space.yaml", "--name", "x", "--no-dashboard")


def test_a_task_that_exits_before_any_trial_leaves_no_experiment(tmp_path: Path) -> None:
    """All that can be wrong then: tests/units/test_bad_task.py."""
    expected = BEFORE_ANY_TRIAL["load exits"].expected(tmp_path)
    assert error_of(tune_app(tmp_path, *SEARCH, timeout=60)).startswith(expected)
    assert not list((tmp_path / "experiments").glob("*"))
    assert left_in(temporary(tmp_path)) == []


def test_a_level_that_exits_in_every_trial_is_the_outcome_and_what_it_prints_is_shown_if_asked_for(
    tmp_path: Path,
) -> None:
    """Whose code runs: tests/units/test_trust.py. `load` finds what lies beside its file."""
    exits = IN_TRIALS["a level exits"]
    beside = ("    x = np", '    open(__file__.replace("mine.py", "space.yaml"))\n    x = np')
    prints = ('"""One hidden layer."""', 'print("hello")')
    expected = exits._replace(changes=(*exits.changes, beside, prints)).expected(tmp_path)
    done = tune_app(tmp_path, *SEARCH, "--num-samples", 9, timeout=120)
    assert done.returncode == 1
    assert f"\nNo trial succeeded. Trial 0: error: {expected}"[:300] in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "hello" not in done.stdout + done.stderr
    assert len(load_experiment("x", tmp_path / "experiments").history.trials) < 9
    assert left_in(temporary(tmp_path)) == []
    again = tune_app(tmp_path, "resume", "x", "--no-dashboard", "--verbose")
    assert (again.returncode, "hello" in again.stdout + again.stderr) == (1, True)
