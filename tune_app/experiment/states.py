"""Training states kept beside the record: what a trial goes on from, and what an export holds.

A state is a safetensors file; its SHA-256 stands in the record's result, so a file that is not what was kept is
noticed. Of a trial that goes on the last two are kept, of a paused one the last, and the one of the best result.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.experiment.spec import Paths
from tune_app.task.result import Result


class States:
    """The kept states of one experiment."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.kept: defaultdict[int, set[int]] = defaultdict(set)
        try:
            paths.states.mkdir(exist_ok=True)
        except OSError as error:
            raise TuneAppError(f"{paths.states}: cannot be created: {error.strerror}") from None
        for path in paths.states.iterdir():
            trial, _, k = path.stem.partition("-")
            if path.suffix == ".part":  # a process was killed while it wrote
                remove(path)
            elif trial.isdigit() and k.isdigit():
                self.kept[int(trial)].add(int(k))

    def put(self, trial: int, k: int, state: bytes | memoryview) -> None:
        """Keep the state at result `k` of a trial: the whole file appears at once, or not at all."""
        path = self.paths.state(trial, k)
        temporary = path.with_suffix(".part")
        try:
            temporary.write_bytes(state)
            temporary.rename(path)
        except OSError as error:
            raise TuneAppError(f"{path}: cannot be written: {error.strerror}") from None
        self.kept[trial].add(k)

    def keep_only(self, trial: int, needed: Collection[int | None]) -> None:
        """Remove the states of a trial at other results than those needed."""
        for k in [k for k in self.kept[trial] if k not in needed]:
            remove(self.paths.state(trial, k))
            self.kept[trial].discard(k)


def remove(path: Path) -> None:
    """Remove a file if it is there; `TuneAppError` if that cannot be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be removed: {error.strerror}") from None


def read_state(paths: Paths, result: Result) -> bytes:
    """The state at a result; `TuneAppError` where it is missing or not what was kept."""
    path = paths.state(result.trial, result.k)
    try:
        state = path.read_bytes()
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be read: {error.strerror}") from None
    if sha256(state) != result.state:
        raise TuneAppError(f"{path}: damaged: its SHA-256 is {sha256(state)}, the record says {result.state}")
    return state


def sha256(state: bytes | memoryview) -> str:
    """The SHA-256 by which the record knows a state, and a bundle its files."""
    return hashlib.sha256(state).hexdigest()
