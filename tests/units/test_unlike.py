"""What a search says of a task whose results do not come out again, or which writes to the data of all trials."""

from pathlib import Path

import numpy as np
import pytest

from tests.own_task import write
from tune_app.storage.load import load_experiment
from tune_app.task import training
from tune_app.task.failure import DataChanged

SPACE = """task: mine.py
space: {level: line, lr: {uniform: [0.01, 0.1]}}
search: {num_samples: 6, max_epochs: 3, seed: 1}
"""
HERE = ("--in-process", "--quiet")
SEARCH = ("search", "space.yaml", "--name", "x", *HERE)


def prepare(folder: Path, *changes: tuple[str, str]) -> None:
    """A task with these changes whose one metric is the loss, and a search of its level without hidden layers."""
    write(folder, (" -> Maximize", ""), *changes)
    (folder / "space.yaml").write_text(SPACE)


def test_a_level_that_writes_to_the_shared_data_ends_the_search_and_is_named(run, tmp_path) -> None:
    model = "    model = nn.Linear(4, 2)"
    prepare(tmp_path, (model, f'    data["train"][0].mul_(2)\n{model}'))
    done = run(*SEARCH)
    assert done.exit_code == 1
    assert done.stdout.startswith("The search was stopped: a trial wrote to the data that all trials share.\n")
    (trial,) = load_experiment("x", Path("experiments")).history.trials
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


def test_a_result_that_comes_out_otherwise_when_it_is_computed_again_is_named_with_both_values(run, tmp_path):
    by_the_clock = "lambda out, yb: F.cross_entropy(out, yb) * (1 + time.time() % 1), torch.optim.SGD"
    prepare(tmp_path, ("F.cross_entropy, torch.optim.SGD", by_the_clock), ("import numpy", "import time, numpy"))
    assert run(*SEARCH, "--time-budget", "0.01").exit_code == 0
    history = load_experiment("x", Path("experiments")).history
    assert not history.trials[-1].ended
    for state in Path("experiments/x/states").iterdir():
        state.unlink()  # so that it begins again
    done = run("resume", "x", *HERE)
    assert done.exit_code == 0, done.output
    again = next(trial for trial in load_experiment("x", Path("experiments")).history.trials if trial.otherwise)
    assert again.otherwise is not None
    name, was, now = again.otherwise["value"]
    assert (name, was) == ("valid_loss", again.results[0].valid["valid_loss"])
    assert was != now
    assert f"Trial {again.number} does not repeat itself: at epoch 0.25, valid loss was {was}, and then {now}." in (
        done.stdout
    )
