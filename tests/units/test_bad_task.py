"""A task in which something is wrong: one line says what, nothing hangs, and no traceback is shown."""

import json
from collections.abc import Callable
from functools import partial

import pytest
from click.testing import Result

from tests.bad_tasks import BEFORE_ANY_TRIAL, DOES_NOT_COME_BACK, IN_TRIALS
from tests.own_task import write
from tests.refused import error_of, mistake_in
from tune_app.storage.load import load_experiment
from tune_app.task.failure import in_one_line


@pytest.fixture
def search(run: Callable[..., Result]) -> Callable[..., Result]:
    """Search in this process, in a folder of its own."""
    return partial(run, "search", "space.yaml", "--name", "x", "--in-process")


@pytest.mark.parametrize("what", BEFORE_ANY_TRIAL)
def test_what_is_wrong_before_any_trial_leaves_no_experiment(run, search, tmp_path, what):
    expected = BEFORE_ANY_TRIAL[what].expected(tmp_path)
    for done in (search(), run("check", "mine.py")):
        assert error_of(done).startswith(expected)
    assert not list((tmp_path / "experiments").glob("*"))


@pytest.mark.parametrize("what", IN_TRIALS)
def test_what_is_wrong_in_every_trial_is_the_outcome_of_the_search(run, search, tmp_path, what):
    expected = IN_TRIALS[what].expected(tmp_path)
    file = "" if IN_TRIALS[what].line else "mine.py: "
    assert mistake_in(run("check", "mine.py", "net")) == f"{file}{expected}"
    done = search("--num-samples", 9)
    assert done.exit_code == 1
    assert "The search was stopped: the first trials all failed with the same error.\n" in done.stdout
    assert f"\nNo trial succeeded. Trial 0: error: {expected}"[:300] in done.stdout
    assert "Traceback" not in done.output
    trials = load_experiment("x").history.trials
    assert [(trial.state, str(trial.reason).count("\n")) for trial in trials] == [("failed", 0)] * 3


def test_a_metric_that_is_not_finite_is_named(search, tmp_path):
    write(tmp_path, ("return out.argmax(1) == yb", "return torch.tensor(0.0) / (out.sum() * 0)"))
    assert search().exit_code == 1
    trial = load_experiment("x").trial(0)
    assert trial.reason == "diverged: valid_accuracy was not finite at epoch 0.5"


def test_a_state_that_does_not_come_back_is_named_where_a_training_would_go_on(run, search, tmp_path):
    expected = DOES_NOT_COME_BACK.expected(tmp_path)
    assert mistake_in(run("check", "mine.py", "net")) == f"mine.py: {expected}"
    assert search("--time-budget", 0.0001).exit_code == 0
    assert load_experiment("x").trial(0).epoch == 0.5
    run("resume", "x", "--in-process")
    assert load_experiment("x").trial(0).reason == f"error: {expected}"


def test_what_a_task_prints_stays_out_of_what_a_program_reads(search, tmp_path):
    write(tmp_path, ('"""One hidden layer."""', 'print("hello")'))
    done = search("--json")
    assert json.loads(done.stdout)["name"] == "x"
    assert "hello\n" in done.stderr


def test_a_line_of_another_file_of_the_same_name_is_not_the_tasks():
    text = (
        'Traceback:\n  File "/tmp/tune-task-ab12/deep/loss.py", line 7, in f\n'
        '  File "/lib/torch/nn/loss.py", line 900, in g\nValueError: a\n\nb: c\n'
    )
    assert in_one_line(text) == "deep/loss.py, line 7: b: c"
    assert in_one_line("tune_app.errors.TuneAppError: no\n") == "no"
    assert in_one_line("") == "unknown"
