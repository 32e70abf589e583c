"""A task in which something is wrong: one line says what, nothing hangs, and no traceback is shown."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from tests.bad_tasks import BEFORE_ANY_TRIAL, DOES_NOT_COME_BACK, IN_TRIALS
from tests.own_task import write
from tests.refused import error_of, mistake_in
from tune_app.storage.load import load_experiment
from tune_app.task import training
from tune_app.task.failure import DataChanged, in_one_line


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


# ---- results that do not come out again, and data that are written to ----------------------------------

LINES = """task: mine.py
space: {level: line, lr: {uniform: [0.01, 0.1]}}
search: {num_samples: 6, max_epochs: 3, seed: 1}
"""


def prepare(folder: Path, *changes: tuple[str, str]) -> None:
    """A task with these changes whose one metric is the loss, and a search of its level without hidden layers."""
    write(folder, (" -> Maximize", ""), *changes)
    (folder / "space.yaml").write_text(LINES)


def test_a_level_that_writes_to_the_shared_data_ends_the_search_and_is_named(run, search, tmp_path) -> None:
    model = "    model = nn.Linear(4, 2)"
    prepare(tmp_path, (model, f'    data["train"][0].mul_(2)\n{model}'))
    done = search()
    assert done.exit_code == 1
    assert done.stdout.startswith("The search was stopped: a trial wrote to the data that all trials share.\n")
    (trial,) = load_experiment("x").history.trials
    allowed = "allowed: to a copy, such as x.clone()"
    mistake = f"level line writes to the data that load returned and all trials share; {allowed}"
    assert trial.reason == f"error: {mistake}"
    assert mistake in run("check", "mine.py", "line").output


def test_the_data_are_looked_at_where_an_attempt_may_end_whatever_that_takes(monkeypatch) -> None:
    monkeypatch.setattr(training, "MOST_WATCHING", 0)
    data = {"x": np.zeros(3)}
    watched = training.Watched(data)
    watched.look("writes", may_end=False)
    data["x"][0] = 1
    watched.look("writes", may_end=False)
    with pytest.raises(DataChanged, match="level writes writes to the data"):
        watched.look("writes", may_end=True)


def test_a_result_that_comes_out_otherwise_when_it_is_computed_again_is_named_with_both_values(
    run, search, tmp_path
):
    by_the_clock = "lambda out, yb: F.cross_entropy(out, yb) * (1 + time.time() % 1), torch.optim.SGD"
    prepare(tmp_path, ("F.cross_entropy, torch.optim.SGD", by_the_clock), ("import numpy", "import time, numpy"))
    assert search("--time-budget", "0.01").exit_code == 0
    history = load_experiment("x").history
    assert not history.trials[-1].ended
    for state in Path("experiments/x/states").iterdir():
        state.unlink()  # so that it begins again
    done = run("resume", "x", "--in-process")
    assert done.exit_code == 0, done.output
    again = next(trial for trial in load_experiment("x").history.trials if trial.otherwise)
    assert again.otherwise is not None
    name, was, now = again.otherwise["value"]
    assert (name, was) == ("valid_loss", again.results[0].valid["valid_loss"])
    assert was != now
    assert f"Trial {again.number} does not repeat itself: at epoch 0.25, valid loss was {was}, and then {now}." in (
        done.stdout
    )
