"""The copy in a bucket of an experiment that is searched elsewhere, and how it is read.

The experiment itself is the folder on the machine that searches it; the bucket holds a copy, which
`mirroring.py` writes:

    mirror.json                  who searches it, and so many bytes of which objects are the record
    record/00000-HOLDER          the record, by the process that wrote it; versions before cut it into several
    states/00017-000004-DIGEST   training states, by trial, number of result and SHA-256

`mirror.json` is the point at which a change happens: it is written after all that it and the record refer to. An
object of the record carries the name of its writer and a state its digest, so two processes that both believe to be
the one that searches never write to the same object, and whichever wrote `mirror.json` last has a whole experiment.
"""

import fcntl
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_app.errors import TuneAppError
from tune_app.experiment.record import exists_already
from tune_app.experiment.spec import NAME, Paths
from tune_app.experiment.states import read_state, sha256
from tune_app.storage.bucket import Bucket, Missing
from tune_app.task.result import Result

CONTENTS, RECORD, STATES = "mirror.json", "record", "states"
SECONDS_ALIVE = 120
"""A process that has not written `mirror.json` for so long has died: four times the 30 s within which it does."""
MOST_CONTENTS, MOST_RECORD, MOST_STATE = 1_000_000, 1_000_000_000, 10_000_000_000
TRIES = 3
T = TypeVar("T")


class Holder(BaseModel):
    """The process that searches an experiment. `id` is its own; `pid` and `host` are for people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    host: str
    pid: int

    @classmethod
    def this(cls) -> "Holder":
        """This process."""
        return cls(id=os.urandom(8).hex(), host=platform.node(), pid=os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Segment(BaseModel):
    """So many bytes of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^\d{5}-[0-9a-f]{16}$")
    bytes: int = Field(ge=0, le=MOST_RECORD)


class Contents(BaseModel):
    """The content of `mirror.json`. `created`: when the experiment was; `holder`: None where nobody searches it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    created: float
    holder: Holder | None = None
    record: tuple[Segment, ...] = ()

    @property
    def bytes(self) -> int:
        """Of the record."""
        return sum(segment.bytes for segment in self.record)


@dataclass(frozen=True)
class Seen:
    """A contents, and when it was written, by the server's clock."""

    contents: Contents
    written: float

    def held(self, at: Paths) -> bool:
        """Whether somebody searches it; `at`: where this machine would."""
        holder = self.contents.holder
        return holder is not None and time.time() - self.written < SECONDS_ALIVE and not died_here(at, holder)


def read_contents(copy: Bucket) -> Seen | None:
    """Read `mirror.json`; None where there is none. `TuneAppError` where it is damaged or too new."""
    stored = copy.stat(CONTENTS)  # before it is read: what is newer may only look older
    if stored is None:
        return None
    try:
        return Seen(Contents.model_validate_json(copy.read(CONTENTS, MOST_CONTENTS)), stored.written)
    except Missing:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TuneAppError(f"{copy}/{CONTENTS}: {where or 'the file'}: {first['msg']}") from None


def write_contents(copy: Bucket, contents: Contents) -> None:
    """Make it what the experiment is."""
    copy.write(CONTENTS, contents.model_dump_json().encode())


def hold_file(at: Paths) -> Path:
    """The file that the process on this machine which searches `at` keeps locked; it holds its id."""
    return at.root.parent / f".{at.root.name}.holder"


def died_here(at: Paths, holder: Holder) -> bool:
    """Whether the holder was a process on this machine that is no more."""
    try:
        with hold_file(at).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return file.read() == holder.id.encode()
    except OSError:
        return False


def names(parent: Bucket) -> list[str]:
    """The experiments in a bucket, the newest first; a damaged one counts as the oldest."""
    times = {}
    for name in filter(NAME.fullmatch, parent.folders()):
        try:
            seen = read_contents(parent / name)
        except TuneAppError:
            times[name] = 0.0
        else:
            if seen:
                times[name] = seen.contents.created
    return sorted(times, key=lambda name: times[name], reverse=True)


def refuse_existing_copy(at: Paths) -> None:
    """Raise `TuneAppError` where a bucket has an experiment of that name already."""
    if at.copy is not None and (seen := read_contents(at.copy)):
        raise exists_already(at.copy, at.root.name, "searched" if seen.held(at) else None)


def download_record(copy: Bucket, record: Path) -> Seen:
    """Write the record as the bucket has it to a file that is not there yet; what it was read from.

    Raises `Missing` where there is none. Reading it checks every line, as always.
    """

    def attempt() -> Seen:
        seen = read_contents(copy)
        if seen is None:
            raise Missing(f"{copy}: is not there")
        size = seen.contents.bytes
        if size > MOST_RECORD:
            raise TuneAppError(f"{copy}/{CONTENTS}: a record of {size} bytes, allowed: {MOST_RECORD}")
        # An object may have become longer meanwhile.
        pieces = [copy.read(f"{RECORD}/{s.name}", MOST_RECORD)[: s.bytes] for s in seen.contents.record]
        if sum(map(len, pieces)) != size:
            raise Missing(f"{copy}/{RECORD}: a part of the record is missing")
        record.write_bytes(b"".join(pieces))
        return seen

    return persistently(attempt)


def state_name(result: Result) -> str:
    """The object that holds the state at a result."""
    return f"{result.trial:05d}-{result.k:06d}-{result.state[:16]}"


def download_state(copy: Bucket, result: Result) -> bytes:
    """The state at a result; `Missing` where it is not there or not what was kept."""
    name = f"{STATES}/{state_name(result)}"
    state = copy.read(name, MOST_STATE)
    if sha256(state) != result.state:
        raise Missing(f"{copy}/{name}: damaged: its SHA-256 is {sha256(state)}, the record says {result.state}")
    return state


def kept_state(at: Paths, result: Result) -> bytes:
    """The state at a result, from where the experiment was read; `TuneAppError` where it is lost or damaged."""
    if at.copy is None:
        return read_state(at, result)
    copy = at.copy
    return persistently(lambda: download_state(copy, result))


def persistently(attempt: Callable[[], T]) -> T:
    """Try again where something is missing: it may have been replaced while it was read."""
    for _ in range(TRIES - 1):
        try:
            return attempt()
        except Missing:
            time.sleep(0.1)
    return attempt()
