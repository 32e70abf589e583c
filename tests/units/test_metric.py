"""A search for the least loss: all that is ranked, shown and exported goes by it.

The accuracy is taken out of its records, so that whatever asks for it fails. Commands are found.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.made_up import play, result_of, rewrite, spec_of
from tune_app.bundle.export import export_best
from tune_app.cli import main
from tune_app.confirmation import spec_of as confirmation_spec
from tune_app.engine.race import Race
from tune_app.engine.search import Search
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Findings, Measured, candidates_of
from tune_app.experiment.spec import Confirming, Paths
from tune_app.output.confirmation import confirmation_view
from tune_app.output.progress import Progress
from tune_app.output.view import outcome
from tune_app.storage.load import load_confirmation, load_experiment
from tune_app.storage.location import paths
from tune_app.task.result import Result
from tune_app.task.tutorial import tutorial

OTHER = "valid_accuracy"
SPACE = {"level": "cnn", "lr": {"choice": [0.1, 0.01, 0.02, 0.03, 0.04]}}
LOSSES = [[0.9, 0.50, 0.60], [0.8, 0.30, 0.40], [0.7, 0.35, 0.35], [0.95, 0.9, 0.85]]
"""By trial, the first of which is the baseline; accuracies are the other way round."""


def with_both(k: int, loss: float) -> Result:
    """A result: the more loss, the more accuracy."""
    return result_of(k, loss, valid={"valid_accuracy": loss, "valid_loss": loss})


@pytest.fixture
def at(tmp_path: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A search that was confirmed, without accuracies."""
    monkeypatch.chdir(tmp_path)
    at = paths(tmp_path / "experiments", "ml")
    spec = spec_of("ml", SPACE, max_epochs=3, metric="valid_loss")
    data = spec.data.model_copy(update={"source": str(small_data)})  # few images: one command trains really
    search = Search.create(spec.model_copy(update={"data": data}), at)
    search.begin()
    play(search, lambda trial, k: with_both(k, LOSSES[trial.number][k - 1]), most=len(LOSSES))
    search.end("completed")
    search.close()
    history = load_experiment("ml", tmp_path / "experiments").history
    what = Confirming(number=1, candidates=candidates_of(history, 2), seeds=5, epochs=9)
    runs = Search.create(confirmation_spec(history.spec, what), at.confirmation(1), Race)
    runs.begin()
    play(runs, lambda run, k: with_both(k, 0.32 + (run.number + 1) % 7 / 100 + float(run.config["lr"])))
    median = Findings(runs.history).measured.median
    assert median
    values = {"valid_loss": [0.41, [0.3108, 0.5092]]}
    runs.write("tested", trial=median.number, items=100, values=values, data=["", ""])
    runs.write("search", event="ended", reason="completed")
    runs.close()
    for record in (at.record, at.confirmation(1).record):
        rewrite(record, lambda entry: entry.get("valid", {}).pop(OTHER, None))
    return at


@pytest.fixture
def experiment(at: Paths) -> Experiment:
    found = load_experiment("ml", at.root.parent)
    assert not any(OTHER in result.valid for trial in found.history.trials for result in trial.results)
    return found


READING = "status ml, status ml --json, list, list --json, report ml, results ml, export ml, train ml --trial 1"


@pytest.mark.parametrize("command", READING.split(", "))
def test_every_reading_command_goes_by_the_loss(at: Paths, command: str) -> None:
    got = CliRunner().invoke(main, command.split())
    assert got.exit_code == 0, (got.output, got.exception)
    assert not re.search("valid.accurac[^:]*: *[0-9]|accuracy [0-9]", got.stdout.replace("test accuracy", ""))


def test_the_outcome_names_the_least_loss_and_what_it_gains(at: Paths) -> None:
    assert "* best: valid loss 0.3000 at epoch 2 of trial 1" in CliRunner().invoke(main, ["status", "ml"]).output
    assert "valid loss 0.3000" in CliRunner().invoke(main, ["list"]).output
    found = load_experiment("ml", at.root.parent)
    assert "\nBest: valid loss 0.3000 at epoch 2 of trial 1\n" in outcome(found)
    assert "\n  0.2000 better than the baseline: 0.5000 at epoch 2 (trial 0)\n" in outcome(found)


def test_the_live_table_shows_the_loss(experiment: Experiment) -> None:
    out = Console(width=120, record=True, quiet=True)
    text = "".join(segment.text for segment in out.render(Progress(out, None).table(experiment.history, 4)))
    assert "valid loss" in text and "best valid loss 0.3000 (trial 1)" in text and "accuracy" not in text


def test_a_confirmation_measures_the_loss_and_exports_the_median(at: Paths, experiment: Experiment) -> None:
    confirmation = load_confirmation(experiment)
    assert confirmation
    assert confirmation_view(confirmation)
    measured = confirmation.findings.measured
    losses = sorted(run.results[-1].valid["valid_loss"] for run in measured.runs)
    assert len(losses) == 5 and sorted(measured.values) == losses
    assert measured.mean == pytest.approx(float(np.mean(losses)))
    assert measured.median and measured.median.results[-1].valid["valid_loss"] == losses[2]
    low, high = measured.interval or (0, 0)
    mean = confirmation.findings.mean(0)
    assert measured.mean and low < measured.mean < high
    assert mean and confirmation.optimism == pytest.approx(mean - 0.3)
    told = CliRunner().invoke(main, ["status", "ml"]).output
    assert f"Confirmed: valid loss {measured.mean:.4f}, 95 % interval {low:.4f} to {high:.4f}" in told
    assert f"  from {losses[0]:.4f} to {losses[-1]:.4f}; 0 of 5 seeds failed" in told
    assert "Test loss: 0.4100, 95 % interval 0.3108 to 0.5092, on 100 items, read once\n" in told
    assert "better than the mean of the same config over fresh seeds" in told
    manifest = export_best(experiment, at.root.parent / "best")
    assert manifest["metrics"]["valid_loss"] == losses[2]
    assert manifest["metrics"]["mean_valid_loss"] == measured.mean
    assert manifest["metrics"]["test_loss"] == 0.41
    assert (
        "the weights of the seed with the median\nvalid loss" in (at.root.parent / "best" / "README.md").read_text()
    )


def test_the_run_that_was_tested_is_exported_also_where_it_is_not_the_median_of_now(at, experiment) -> None:
    confirmation = load_confirmation(experiment)
    assert confirmation
    other = next(run for run in confirmation.findings.measured.runs if run is not confirmation.exported)
    another = {"trial": other.number}  # versions before this one took the median of the accuracies
    rewrite(at.confirmation(1).record, lambda entry: entry.update(another if entry["kind"] == "tested" else {}))
    found = load_confirmation(load_experiment("ml", at.root.parent))
    assert found and found.exported and found.exported.number == other.number
    manifest = export_best(load_experiment("ml", at.root.parent), at.root.parent / "best")
    assert manifest["metrics"]["valid_loss"] == other.results[-1].valid["valid_loss"]


def test_of_an_even_number_of_seeds_the_worse_of_two_is_exported(experiment: Experiment) -> None:
    confirmation = load_confirmation(experiment)
    assert confirmation
    four = Measured(confirmation.findings.measured.runs[:4], tutorial().metrics["valid_loss"])
    assert four.median and four.median.results[-1].valid["valid_loss"] == sorted(four.values)[2]


def test_json_for_programs_names_the_metric(at: Paths) -> None:
    told = json.loads(CliRunner().invoke(main, ["status", "ml", "--json"]).stdout)
    assert (told["metric"], told["best"]["valid_loss"], OTHER in told["best"]) == ("valid_loss", 0.3, False)
    for trial, losses in zip(told["trials"], LOSSES, strict=True):
        assert trial["valid_loss"] == losses[round(trial["epoch"]) - 1]
    (listed,) = json.loads(CliRunner().invoke(main, ["list", "--json"]).stdout)
    assert (listed["metric"], listed["best"]) == ("valid_loss", 0.3)


def test_an_interval_ends_where_no_value_can_lie() -> None:
    assert tutorial().metrics["valid_loss"].bounded((-0.05, 0.15)) == (0, 0.15)
    assert tutorial().metrics["valid_accuracy"].bounded((0.9, 1.1)) == (0.9, 1)
