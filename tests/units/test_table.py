"""All results as a table: the same rows in every format."""

import re
from pathlib import Path

import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.made_up import SCRIPT, tutorial_search
from tests.refused import refusal
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.table import AFTER, BEFORE, BETWEEN, columns, result_rows, results_table
from tune_app.output.results import write_results
from tune_app.storage.load import load_experiment
from tune_app.task.task import COLUMNS
from tune_app.task.tutorial import tutorial


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An interrupted search of thirty trials."""
    folder = tmp_path_factory.mktemp("table")
    tutorial_search(folder, "made", 30).close()
    return load_experiment("made", folder)


def test_no_hyperparameter_is_called_like_a_column_that_every_table_has() -> None:
    assert [column.name for column in (*BEFORE, *BETWEEN, *AFTER)] == list(COLUMNS)


def test_there_is_a_row_for_each_result_with_what_the_record_says(experiment: Experiment) -> None:
    rows = list(result_rows(experiment))
    results = [(trial, result) for trial in experiment.history.trials for result in trial.results]
    assert len(rows) == len(results) == experiment.history.results
    for row, (trial, result) in zip(rows, results, strict=True):
        assert row["trial"] == trial.number
        for name in ("level", *tutorial().hyperparameters):
            assert row[name] == trial.config.get(name)
        assert (row["seed"], row["family"], row["state"]) == (trial.seed, trial.family, trial.state)
        for name in ("k", "epoch", "valid_accuracy", "train_seconds", "decision", "rung", "cutoff", "compared"):
            assert row[name] == {**vars(result), **result.valid}[name]
    assert {row["node"] for row in rows} == {"here"}


def test_parquet_says_units_and_meanings_and_a_notebook_has_the_same_rows(
    experiment: Experiment, tmp_path: Path
) -> None:
    assert write_results(experiment, tmp_path / "results.parquet") == experiment.history.results
    table = pq.read_table(tmp_path / "results.parquet")
    assert table.to_pylist() == list(result_rows(experiment))
    for field, column in zip(table.schema, columns(tutorial()), strict=True):
        assert (field.name, str(field.type)) == (column.name, column.type)
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"meaning"].decode() == column.meaning != ""
    pd.testing.assert_frame_equal(experiment.to_pandas(), pd.read_parquet(tmp_path / "results.parquet"))


def test_csv_holds_the_same(experiment: Experiment, tmp_path: Path) -> None:
    rows = list(result_rows(experiment))
    write_results(experiment, tmp_path / "results.csv")
    schema = results_table(experiment).schema
    options = pyarrow.csv.ConvertOptions(column_types=schema, strings_can_be_null=True)
    assert pyarrow.csv.read_csv(tmp_path / "results.csv", convert_options=options).to_pylist() == rows


def test_a_notebook_shows_the_last_result_of_each_trial_and_runs_no_text(experiment, monkeypatch) -> None:
    monkeypatch.setattr(experiment.history.trials[0], "reason", SCRIPT)
    shown = experiment._repr_html_()
    assert shown.count("<tr") == 1 + 29  # the names, and one for each trial with a result
    assert "made: interrupted, 30 trials" in shown
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_an_experiment_without_results_is_an_empty_table(tmp_path: Path) -> None:
    search = tutorial_search(tmp_path, "none", 0, num_samples=1)
    experiment = load_experiment("none", tmp_path)
    write_results(experiment, tmp_path / "results.parquet")
    assert pq.read_table(tmp_path / "results.parquet").num_rows == 0
    assert list(experiment.to_pandas().columns) == [column.name for column in columns(tutorial())]
    assert "none: running, 0 trials" in experiment._repr_html_()
    search.close()


def test_another_ending_is_one_line_and_leaves_no_file(experiment: Experiment, tmp_path: Path) -> None:
    line = refusal(write_results, experiment, tmp_path / "results.xlsx")
    assert "ends in '.xlsx', allowed: .parquet, .csv" in line
    (taken := tmp_path / "taken.csv").mkdir()
    assert f"{taken}: is no file that can be replaced" in refusal(write_results, experiment, taken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.csv"]


def test_the_documented_columns_are_those_of_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*)\|(.*)\|$", text, re.MULTILINE)
    assert [tuple(cell.strip() for cell in row) for row in rows] == [
        (column.name, column.type, column.unit, column.meaning) for column in columns(tutorial())
    ]
