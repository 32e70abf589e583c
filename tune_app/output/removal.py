"""Remove an experiment."""

import shutil
from pathlib import Path

from tune_app.errors import TuneAppError, choices
from tune_app.experiment.history import experiment_names
from tune_app.experiment.record import is_held
from tune_app.experiment.spec import paths


def remove_experiment(name: str, experiments_dir: Path) -> None:
    """Remove a folder that holds an experiment; `TuneAppError` where it is none or is being searched."""
    at = paths(experiments_dir, name)
    there = experiment_names(experiments_dir)
    if name not in there:
        raise TuneAppError(f"{experiments_dir}: no experiment {name}, {choices(name, there)}")
    for record in (at.record, *at.root.glob("*/record.jsonl")):
        if is_held(record):
            what = "searched" if record == at.record else "confirmed"
            raise TuneAppError(f"{at.root}: is being {what} right now; end that first")
    try:
        if at.root.is_symlink():
            at.root.unlink()
        else:
            shutil.rmtree(at.root)
    except OSError as error:
        raise TuneAppError(f"{error.filename}: cannot be removed: {error.strerror}") from None
