"""One process at a time searches an experiment whose copy lies in a bucket.

S3 as pyarrow offers it has no conditional writes, but what was written is read and listed by everyone at
once. So a process that wants an experiment first writes a claim beside it, then looks for other claims, then
whether somebody holds it, and only then writes `mirror.json` with its own name, and takes the claim back. Of two
that come at the same time at least one sees the other's claim, and leaves. Times are compared by the server's
clock alone: a claim is an object, whose time is now.

What this cannot exclude: a process that is stopped for more than two minutes between its last look and its
write. It then takes an experiment from the one that took it over; that one notices within 30 s and stops, and
since no two write the same objects, what is there is a whole experiment, as it was searched by one of them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tune_app.errors import TuneAppError
from tune_app.experiment.record import lock
from tune_app.experiment.spec import Paths
from tune_app.storage.bucket import Bucket
from tune_app.storage.mirror import (
    MOST_CONTENTS,
    SECONDS_ALIVE,
    Contents,
    Holder,
    Seen,
    hold_file,
    is_held,
    read_contents,
    write_contents,
)

CLAIMS = "claims"


class TakenOver(TuneAppError):
    """Somebody else searches the experiment now."""


@contextmanager
def alone_here(at: Paths) -> Iterator[int]:
    """Within the block no other process on this machine searches `at`; the descriptor of the locked file."""
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
        yield descriptor
    finally:
        os.close(descriptor)


def take(at: Paths, copy: Bucket, me: Holder, descriptor: int, created: float) -> Contents:
    """Become the one that searches the experiment, new or not; its contents from then on.

    `descriptor`: of the file that is locked on this machine. Raises `TuneAppError` that says who searches it.
    """
    claims = copy / CLAIMS
    before = os.pread(descriptor, 64, 0)
    claims.write(me.id, me.model_dump_json().encode())
    try:
        there = claims.objects()
        if me.id not in there:
            raise TuneAppError(f"{copy}: is being removed at this moment")
        now = there[me.id].written
        for name, claim in there.items():
            if name == me.id:
                continue
            if now - claim.written < SECONDS_ALIVE:
                other = read_claim(claims, name)
                raise TuneAppError(f"{copy}: {other} is beginning to search it at this moment")
            claims.remove(name)
        seen = read_contents(copy)
        refuse_held(at, copy, seen, before, now)
        contents = seen.contents if seen else Contents(created=created)
        contents = contents.model_copy(update={"holder": me})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, me.id.encode(), 0)
        write_contents(copy, contents)
    finally:
        with suppress(TuneAppError):  # it grows old
            claims.remove(me.id)
    return contents


def refuse_held(at: Paths, copy: Bucket, seen: Seen | None, before: bytes, now: float) -> None:
    """Raise `TuneAppError` that says who searches it, unless `before`, the last one on this machine, died."""
    holder = seen.contents.holder if seen else None
    if seen is None or holder is None or holder.id.encode() == before or not is_held(at, seen, now):
        return
    left = SECONDS_ALIVE - (now - seen.written)
    raise TuneAppError(
        f"{copy}: is being searched by {holder}, which said so {now - seen.written:.0f} s ago; if it has died, the"
        f" search can be taken over in {left:.0f} s"
    )


def read_claim(claims: Bucket, name: str) -> str:
    """Who made a claim, in words."""
    try:
        return str(Holder.model_validate_json(claims.read(name, MOST_CONTENTS)))
    except (TuneAppError, ValueError):
        return "another process"


def require_hold(copy: Bucket, me: Holder) -> None:
    """Raise `TakenOver` unless this process still is the one that searches the experiment."""
    seen = read_contents(copy)
    if seen is None:
        raise TakenOver(f"{copy}: has been removed by someone; this search of it has stopped")
    holder = seen.contents.holder
    if holder is None or holder.id != me.id:
        who = holder or "another process, which has ended,"
        raise TakenOver(f"{copy}: {who} has taken the search over, so this one has stopped")
