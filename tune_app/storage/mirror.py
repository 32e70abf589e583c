"""The copy in a bucket of an experiment that is searched elsewhere, and how it is read.

The experiment itself is the folder on the machine that searches it; the bucket holds a copy, which
`mirroring.py` writes:

    mirror.json                  who searches it, and so many bytes of which objects are the record
    record/00000-HOLDER          the record, by the process that wrote it; versions before cut it into several
    states/00017-000004-DIGEST   training states, by trial, number of result and SHA-256

`mirror.json` is the point at which a change happens: it is written after all that it and the record refer to. An
object of the record carries the name of its writer and a state its digest, so two processes that both believe to be
the one that searches never write to the same object, and whichever wrote `mirror.json` last has a whole experiment.

One process at a time searches it. It says so in `mirror.json`, every 30 s, and one that has not for two minutes
may be replaced; the server's clock and this machine's must agree that far. S3 as pyarrow offers it has no
conditional writes, so of two that begin in the same second both may write: the one whose id is not there at its
next look, within 30 s, stops, as does one that was cut off and replaced.
"""

import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_app.errors import TuneAppError
from tune_app.experiment.record import exists_already, lock
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
    """The content of `mirror.json`.

    `created`: when the experiment was. `holder`: None where nobody searches it. `written`: when it was put there
    by the server's clock, which the object says and not its content.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    created: float
    holder: Holder | None = None
    record: tuple[Segment, ...] = ()
    written: float = Field(0.0, exclude=True)

    @property
    def bytes(self) -> int:
        """Of the record."""
        return sum(segment.bytes for segment in self.record)

    def held(self, at: Paths) -> bool:
        """Whether somebody searches it; `at`: where this machine would."""
        holder = self.holder
        return holder is not None and time.time() - self.written < SECONDS_ALIVE and not died_here(at, holder)


class TakenOver(TuneAppError):
    """Somebody else searches the experiment now."""


def read_contents(copy: Bucket) -> Contents | None:
    """Read `mirror.json`; None where there is none. `TuneAppError` where it is damaged or too new."""
    stored = copy.stat(CONTENTS)  # before it is read: what is newer may only look older
    if stored is None:
        return None
    try:
        contents = Contents.model_validate_json(copy.read(CONTENTS, MOST_CONTENTS))
        return contents.model_copy(update={"written": stored.written})
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
            if contents := read_contents(parent / name):
                times[name] = contents.created
        except TuneAppError:
            times[name] = 0.0
    return sorted(times, key=lambda name: times[name], reverse=True)


def refuse_existing_copy(at: Paths) -> None:
    """Raise `TuneAppError` where a bucket has an experiment of that name already."""
    if at.copy is not None and (there := read_contents(at.copy)):
        raise exists_already(at.copy, at.root.name, "searched" if there.held(at) else None)


def refuse_held(at: Paths, copy: Bucket) -> None:
    """Raise `TuneAppError` that says who searches it, and since when nothing was heard of that one."""
    there = read_contents(copy)
    if there and there.held(at):
        silent = time.time() - there.written
        raise TuneAppError(
            f"{copy}: is being searched by {there.holder}, which said so {silent:.0f} s ago; if it has"
            f" died, the search can be taken over in {SECONDS_ALIVE - silent:.0f} s"
        )


@contextmanager
def alone_here(at: Paths, me: Holder) -> Iterator[None]:
    """Within the block no other process on this machine searches `at`."""
    path = hold_file(at)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        lock(path, descriptor)
    except TuneAppError:
        raise TuneAppError(f"{at.copy}: is being searched by another process on this machine") from None
    try:
        os.pwrite(descriptor, me.id.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def take(copy: Bucket, me: Holder) -> Contents:
    """Become the one that searches the experiment, new or not; its contents from then on."""
    there = read_contents(copy) or Contents(created=time.time())
    contents = there.model_copy(update={"holder": me})
    write_contents(copy, contents)
    require_hold(copy, me)
    return contents


def require_hold(copy: Bucket, me: Holder) -> None:
    """Raise `TakenOver` unless this process still is the one that searches the experiment."""
    there = read_contents(copy)
    if there is None:
        raise TakenOver(f"{copy}: has been removed by someone; this search of it has stopped")
    if there.holder is None or there.holder.id != me.id:
        who = there.holder or "another process, which has ended,"
        raise TakenOver(f"{copy}: {who} has taken the search over, so this one has stopped")


def let_go(copy: Bucket, me: Holder, contents: Contents) -> None:
    """Search it no longer; of an experiment that has not begun nothing stays."""
    with suppress(TuneAppError):  # then it is free when it has grown old
        there = read_contents(copy)
        if there is None or there.holder not in (me, None):
            return
        if contents.record:
            write_contents(copy, contents.model_copy(update={"holder": None}))
        else:
            copy.remove(CONTENTS)  # from then on it is none
            copy.remove_all()


def download_record(copy: Bucket, record: Path) -> Contents:
    """Write the record as the bucket has it to a file that is not there yet; what it was read from.

    Raises `Missing` where there is none. Reading it checks every line, as always.
    """

    def attempt() -> Contents:
        contents = read_contents(copy)
        if contents is None:
            raise Missing(f"{copy}: is not there")
        size = contents.bytes
        if size > MOST_RECORD:
            raise TuneAppError(f"{copy}/{CONTENTS}: a record of {size} bytes, allowed: {MOST_RECORD}")
        # An object may have become longer meanwhile.
        pieces = [copy.read(f"{RECORD}/{s.name}", MOST_RECORD)[: s.bytes] for s in contents.record]
        if sum(map(len, pieces)) != size:
            raise Missing(f"{copy}/{RECORD}: a part of the record is missing")
        record.write_bytes(b"".join(pieces))
        return contents

    return persistently(attempt)


def state_name(result: Result) -> str:
    """The object that holds the state at a result."""
    return f"{STATES}/{result.trial:05d}-{result.k:06d}-{result.state[:16]}"


def download_state(copy: Bucket, result: Result) -> bytes:
    """The state at a result; `Missing` where it is not there or not what was kept."""
    name = state_name(result)
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
