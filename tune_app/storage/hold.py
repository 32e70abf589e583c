"""One process at a time searches an experiment whose copy lies in a bucket.

It says so in `mirror.json`, every 30 s, and one that has not for two minutes may be replaced; the server's clock
and this machine's must agree that far. S3 as pyarrow offers it has no conditional writes, so of two that begin in
the same second both may write: the one whose id is not there at its next look, within 30 s, stops, as does one that
was cut off and replaced. Since no two write the same objects, what is there is a whole experiment all the time, as
one of them searched it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tune_app.errors import TuneAppError
from tune_app.experiment.record import lock
from tune_app.experiment.spec import Paths
from tune_app.storage import mirror
from tune_app.storage.bucket import Bucket
from tune_app.storage.mirror import CONTENTS, Contents, Holder, hold_file, read_contents, write_contents


class TakenOver(TuneAppError):
    """Somebody else searches the experiment now."""


def refuse_held(at: Paths, copy: Bucket) -> None:
    """Raise `TuneAppError` that says who searches it, and since when nothing was heard of that one."""
    seen = read_contents(copy)
    if seen and seen.held(at):
        silent = time.time() - seen.written
        raise TuneAppError(
            f"{copy}: is being searched by {seen.contents.holder}, which said so {silent:.0f} s ago; if it has"
            f" died, the search can be taken over in {mirror.SECONDS_ALIVE - silent:.0f} s"
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
    seen = read_contents(copy)
    contents = seen.contents if seen else Contents(created=time.time())
    contents = contents.model_copy(update={"holder": me})
    write_contents(copy, contents)
    require_hold(copy, me)
    return contents


def require_hold(copy: Bucket, me: Holder) -> None:
    """Raise `TakenOver` unless this process still is the one that searches the experiment."""
    seen = read_contents(copy)
    if seen is None:
        raise TakenOver(f"{copy}: has been removed by someone; this search of it has stopped")
    holder = seen.contents.holder
    if holder is None or holder.id != me.id:
        who = holder or "another process, which has ended,"
        raise TakenOver(f"{copy}: {who} has taken the search over, so this one has stopped")


def let_go(copy: Bucket, me: Holder, contents: Contents) -> None:
    """Search it no longer; of an experiment that has not begun nothing stays."""
    with suppress(TuneAppError):  # then it is free when it has grown old
        seen = read_contents(copy)
        if seen is None or seen.contents.holder not in (me, None):
            return
        if contents.record:
            write_contents(copy, contents.model_copy(update={"holder": None}))
        else:
            copy.remove(CONTENTS)  # from then on it is none
            copy.remove_all()
