"""The copy in a bucket of an experiment that is searched elsewhere, and how it is read.

The experiment itself is the folder on the machine that searches it; the bucket holds a copy, which
`mirroring.py` writes:

    mirror.json                  who searches it, and which segments make up the record
    record/00000-HOLDER          segments of the record: bytes that follow each other
    states/00017-000004-DIGEST   training states, by trial, number of result and SHA-256

`mirror.json` is the point at which a change happens: it names the segments and how many bytes of each belong to the
record, and is written after all that this record refers to. A record of 10,000 trials takes tens of megabytes, so
it is not written anew every time: only the last segment is, up to a megabyte. A segment carries the name of the
process that wrote it and a state its digest, so two processes that both believe to be the one that searches
never write to the same object, and whichever wrote `mirror.json` last has a whole experiment.
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
SEGMENT_BYTES = 1_000_000
MOST_CONTENTS, MOST_RECORD, MOST_STATE = 1_000_000, 1_000_000_000, 100_000_000
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


def read_contents(copy: Bucket) -> Seen | None:
    """Read `mirror.json`; None where there is none. `TuneAppError` where it is damaged or too new."""
    stored = copy.stat(CONTENTS)  # before it is read: what is newer may only look older
    if stored is None:
        return None
    try:
        content = copy.read(CONTENTS, MOST_CONTENTS)
    except Missing:
        return None
    try:
        return Seen(Contents.model_validate_json(content), stored.written)
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


def is_held(at: Paths, seen: Seen, now: float) -> bool:
    """Whether somebody searches it; `now` by the clock of the server, as near as can be had."""
    holder = seen.contents.holder
    return holder is not None and now - seen.written < SECONDS_ALIVE and not died_here(at, holder)


def names(parent: Bucket) -> list[str]:
    """The experiments in a bucket, the newest first; a damaged one counts as the oldest."""

    def created(name: str) -> float | None:
        try:
            seen = read_contents(parent / name)
        except TuneAppError:
            return 0.0
        return seen.contents.created if seen else None

    times = {name: created(name) for name in parent.folders() if NAME.fullmatch(name)}
    there = {name: time for name, time in times.items() if time is not None}
    return sorted(there, key=lambda name: there[name], reverse=True)


def refuse_existing_copy(at: Paths) -> None:
    """Raise `TuneAppError` where a bucket has an experiment of that name already."""
    if at.copy is not None and (seen := read_contents(at.copy)):
        raise exists_already(at.copy, at.root.name, "searched" if is_held(at, seen, time.time()) else None)


def download_record(copy: Bucket, record: Path) -> Seen:
    """Write the record as the bucket has it to a file that is not there yet; what it was read from.

    Raises `Missing` where there is none. Reading it checks every line, as always.
    """

    def attempt() -> Seen:
        seen = read_contents(copy)
        if seen is None:
            raise Missing(f"{copy}: is not there")
        if seen.contents.bytes > MOST_RECORD:
            raise TuneAppError(
                f"{copy}/{CONTENTS}: a record of {seen.contents.bytes} bytes, allowed: {MOST_RECORD}"
            )
        most = SEGMENT_BYTES  # the last one may have become longer meanwhile
        pieces = [copy.read(f"{RECORD}/{s.name}", max(s.bytes, most))[: s.bytes] for s in seen.contents.record]
        if sum(map(len, pieces)) != seen.contents.bytes:
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
