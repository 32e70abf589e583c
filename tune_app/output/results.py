"""All results in a file, for other programs."""

from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.table import results_table
from tune_app.whole import whole


def write_results(experiment: Experiment, path: Path) -> int:
    """Write a row per result, in the format that the file's ending names; return how many.

    Parquet has types, units and meanings in its schema; CSV begins with the names, and null is an empty field.
    Raises `TuneAppError` for another ending and where the file cannot be written.
    """
    from pyarrow import csv, parquet

    writers = {".parquet": parquet.write_table, ".csv": csv.write_csv}
    if path.suffix not in writers:
        raise TuneAppError(f"{path}: ends in {path.suffix or 'nothing'!r}, allowed: {', '.join(writers)}")
    with whole(path) as part:
        writers[path.suffix](results_table(experiment), part)
    return experiment.history.results
