"""Remove an experiment."""

import shutil
from pathlib import Path

from tune_app.errors import TuneAppError, choices
from tune_app.experiment.record import busy, is_held
from tune_app.experiment.spec import Paths
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import experiment_names
from tune_app.storage.location import paths
from tune_app.storage.mirror import CONTENTS, hold_file, read_contents


def remove_experiment(name: str, experiments_dir: Path | Bucket) -> None:
    """Remove an experiment, and its copy; `TuneAppError` where it is none or is being searched."""
    at = paths(experiments_dir, name)
    if at.copy is not None:
        remove_copy(at, at.copy)
        return
    there = experiment_names(experiments_dir)
    if name not in there:
        raise TuneAppError(f"{experiments_dir}: no experiment {name}, {choices(name, there)}")
    if doing := busy(at.root):
        raise TuneAppError(f"{at.root}: is being {doing} right now; end that first")
    remove_folder(at)


def remove_copy(at: Paths, copy: Bucket) -> None:
    """Remove an experiment from a bucket, and what this machine has of it."""
    seen = read_contents(copy)
    if seen is None and not at.root.exists():
        parent = str(copy).rpartition("/")[0]
        raise TuneAppError(f"{parent}: no experiment {at.root.name}")
    if (at.record.exists() and is_held(at.record)) or (seen and seen.held(at)):
        raise TuneAppError(f"{copy}: is being searched right now; end the search first")
    if seen:
        copy.remove(CONTENTS)  # from now on it is none, also if what follows fails
        copy.remove_all()
    if at.root.exists():
        remove_folder(at)
    hold_file(at).unlink(missing_ok=True)


def remove_folder(at: Paths) -> None:
    """Remove the files of an experiment; `TuneAppError` for one that cannot be removed."""
    try:
        if at.root.is_symlink():
            at.root.unlink()
        else:
            shutil.rmtree(at.root)
    except OSError as error:
        raise TuneAppError(f"{error.filename}: cannot be removed: {error.strerror}") from None
