"""All results in a file, for other programs."""

import json
from collections.abc import Callable
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.table import result_rows, results_table
from tune_app.whole import whole_file


def write_results(experiment: Experiment, path: Path) -> int:
    """Write a row per result, in the format that the file's ending names; return how many.

    Raises `TuneAppError` for another ending and where the file cannot be written.
    """
    if path.suffix not in WRITERS:
        raise TuneAppError(f"{path}: ends in {path.suffix or 'nothing'!r}, allowed: {', '.join(WRITERS)}")
    with whole_file(path) as part:
        WRITERS[path.suffix](experiment, part)
    return experiment.history.results


def write_parquet(experiment: Experiment, path: Path) -> None:
    """Write Parquet, with types, units and meanings in the schema."""
    import pyarrow.parquet as pq

    pq.write_table(results_table(experiment), path)


def write_csv(experiment: Experiment, path: Path) -> None:
    """Write a line of names, then a line for each result; null is an empty field."""
    import pyarrow.csv

    pyarrow.csv.write_csv(results_table(experiment), path)


def write_json_lines(experiment: Experiment, path: Path) -> None:
    """Write a line with an object for each result."""
    with path.open("w", encoding="utf-8") as file:
        for row in result_rows(experiment):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


WRITERS: dict[str, Callable[[Experiment, Path], None]] = {
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".jsonl": write_json_lines,
}
