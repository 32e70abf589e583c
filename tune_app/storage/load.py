"""Read experiments and their confirmations, in a folder or a bucket, which changes nothing there; remove them."""

import shutil
import tempfile
import weakref
from pathlib import Path

from tune_app.errors import TuneAppError, choices
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation
from tune_app.experiment.history import replay
from tune_app.experiment.record import busy, is_held, read_entries
from tune_app.experiment.spec import NAME, Paths
from tune_app.storage import mirror
from tune_app.storage.bucket import Bucket
from tune_app.storage.location import folder_or_bucket, paths


def load_experiment(name: str | None = None, experiments_dir: str | Path | Bucket = "experiments") -> Experiment:
    """Read an experiment from its record; without a name the newest.

    Raises `TuneAppError` for a name that does not exist and for a damaged record.
    """
    folder = folder_or_bucket(experiments_dir)
    there = experiment_names(folder)
    if name is None:
        if not there:
            raise TuneAppError(f"{folder}: no experiments yet; tune-app search makes one")
        name = there[0]
    at = paths(folder, name)
    if name not in there:
        raise TuneAppError(
            f"{folder}: no experiment {name}, {choices(name, there)}" if there else f"{folder}: no experiments yet"
        )
    if at.copy is not None:
        return downloaded(at, at.copy)
    return Experiment(at, replay(at.record), is_held(at.record))


def downloaded(at: Paths, copy: Bucket) -> Experiment:
    """An experiment as a bucket has it: its record lies in a temporary folder as long as somebody reads it."""
    folder = Path(tempfile.mkdtemp(prefix="tune-app-"))
    try:
        here = Paths(folder / at.root.name, copy)
        here.root.mkdir()
        held = mirror.download_record(copy, here.record).held(at)
        experiment = Experiment(here, replay(here.record), held)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, TuneAppError):
            raise TuneAppError(str(error).replace(str(folder / at.root.name), str(copy))) from None
        raise
    weakref.finalize(experiment, shutil.rmtree, folder, ignore_errors=True)
    return experiment


def experiment_names(folder: Path | Bucket) -> list[str]:
    """The experiments in a folder or bucket, the newest first."""
    if isinstance(folder, Bucket):
        return mirror.names(folder)
    records = folder.glob("*/record.jsonl")

    def created(record: Path) -> float:
        try:
            return float(next(read_entries(record))["time"])
        except (StopIteration, TuneAppError):
            return record.stat().st_mtime

    named = [record for record in records if NAME.fullmatch(record.parent.name)]
    return [record.parent.name for record in sorted(named, key=created, reverse=True)]


def confirmations(experiment: Experiment) -> list[int]:
    """The numbers of the confirmations of an experiment."""
    names = experiment_names(experiment.paths.copy or experiment.paths.root)
    numbers = (name.removeprefix("confirmation-") for name in names)
    return sorted(int(number) for number in numbers if number.isdecimal())


def load_confirmation(experiment: Experiment) -> Confirmation | None:
    """The newest confirmation of an experiment, None where there is none; `TuneAppError` if one is damaged."""
    parent = experiment.paths.copy or experiment.paths.root
    kept = [load_experiment(f"confirmation-{number}", parent) for number in confirmations(experiment)]
    if not kept:
        return None
    read = sum(one.history.tested is not None for one in kept)
    return Confirmation(experiment, kept[-1], read)


def remove_experiment(name: str, experiments_dir: Path | Bucket) -> None:
    """Remove an experiment, from a bucket with what this machine has of it.

    Raises `TuneAppError` where it is none, is being searched, or cannot be removed.
    """
    at, there = paths(experiments_dir, name), experiment_names(experiments_dir)
    if name not in there and not (at.copy and at.root.exists()):
        allowed = f", {choices(name, there)}" if there else ""
        raise TuneAppError(f"{experiments_dir}: no experiment {name}{allowed}")
    contents = mirror.read_contents(at.copy) if at.copy else None
    if doing := "searched" if contents and contents.held(at) else busy(at.root):
        raise TuneAppError(f"{at.copy or at.root}: is being {doing} right now; end that first")
    if at.copy and contents:
        at.copy.remove(mirror.CONTENTS)  # from now on it is none, also if what follows fails
        at.copy.remove_all()
    try:
        if at.root.is_symlink():
            at.root.unlink()
        elif at.root.exists():
            shutil.rmtree(at.root)
    except OSError as error:
        raise TuneAppError(f"{error.filename}: cannot be removed: {error.strerror}") from None
    if at.copy:
        mirror.hold_file(at).unlink(missing_ok=True)
