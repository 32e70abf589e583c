"""Copy an experiment to a bucket while it is searched, and bring it from there to go on.

A thread reads the experiment as any reader does: every line of the record that is whole, and the states that those
lines need: the last two of trials that run, and those that led. It copies the states, then the record, then says
so in `mirror.json`, and only then removes what is needed no longer. A search that finds S3 unreachable goes on: it
loses nothing, for its own folder is whole at any time.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.experiment.history import History, begun, replay
from tune_app.experiment.record import decode, is_held
from tune_app.experiment.spec import Paths
from tune_app.experiment.states import read_state
from tune_app.storage import mirror
from tune_app.storage.bucket import Bucket, Missing
from tune_app.task.result import Result

SECONDS_BETWEEN_COPIES = 25
"""So that with the time that copying takes no more than 30 s of a search are repeated."""
SECONDS_FOR_THE_LAST_COPY = 60
LOOKS = 3
"""How often the states of one moment are looked for, while trials go on and replace them."""


class Copying:
    """How it goes with the copy. `taken_over`, `missing`: None, or what went wrong in one line."""

    taken_over: str | None = None
    missing: str | None = None

    def finish(self) -> None:
        """Copy once more and wait for it; nothing is copied after that."""


@contextmanager
def mirrored(at: Paths, announce: Callable[[str], None]) -> Iterator[Copying]:
    """Within the block, `at` is copied to its bucket, if it has one, and nobody else searches it there.

    At first `at` becomes what the bucket holds. At the end all is there, or `missing` says what is not. Raises
    `TuneAppError` where somebody else searches it, or S3 does not answer.
    """
    if at.copy is None:
        yield Copying()
        return
    me = mirror.Holder.this()
    mirror.refuse_held(at, at.copy)
    with mirror.alone_here(at, me):
        contents = mirror.take(at.copy, me)
        try:
            bring_here(at, at.copy, contents, announce)
            copier = Mirror(at, at.copy, me, contents, announce)
        except BaseException:
            mirror.let_go(at.copy, me, contents)
            raise
        copier.thread.start()
        try:
            yield copier
        except BaseException:
            copier.finish()
            if not at.record.exists():
                mirror.let_go(at.copy, me, contents)
            elif copier.missing:
                announce(copier.missing)
            raise
        copier.finish()


def bring_here(at: Paths, copy: Bucket, contents: mirror.Contents, announce: Callable[[str], None]) -> None:
    """Make `at` what the bucket holds, unless it is that and more already; what only `at` has is kept beside it."""
    if not contents.record:
        return
    at.root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{at.root.name}-", dir=at.root.parent) as temporary:
        part = Paths(Path(temporary, at.root.name))
        part.states.mkdir(parents=True)
        mirror.download_record(copy, part.record)
        there, here = part.record.read_bytes(), at.record.read_bytes() if at.record.exists() else b""
        if here.startswith(there):
            return
        for result in needed(replay(part.record)).values():
            with suppress(Missing):  # the trial goes on from the state before, or from the start
                part.state(result.trial, result.k).write_bytes(mirror.download_state(copy, result))
        if at.record.exists() and is_held(at.record):
            raise TuneAppError(f"{at.root}: is being searched by another process on this machine")
        if there.startswith(here):
            shutil.rmtree(at.root, ignore_errors=True)
        else:
            aside = at.root.with_name(f".{at.root.name}-{datetime.now():%Y%m%d-%H%M%S}")
            at.root.rename(aside)
            announce(
                f"{at.root.name}: the search went on elsewhere from an earlier point; what only this machine had:"
                f" {aside}"
            )
        part.root.rename(at.root)


def needed(history: History | None) -> dict[str, Result]:
    """The results whose states are needed to go on and to export, by the states' names in the bucket."""
    if history is None:
        return {}
    results = [result for trial in history.trials for result in trial.resumable]
    results += [kept for trial in history.trials if (kept := history.kept(trial.number))]
    return {mirror.state_name(result): result for result in results}


class Mirror(Copying):
    """Copies one experiment until it is over."""

    def __init__(
        self, at: Paths, copy: Bucket, me: mirror.Holder, contents: mirror.Contents, announce: Callable[[str], None]
    ) -> None:
        self.local, self.copy, self.me, self.contents = Paths(at.root), copy, me, contents
        self.announce = announce
        self.thread = threading.Thread(target=self.run, daemon=True, name="mirror")
        self.over = threading.Event()
        rooms = (mirror.STATES, mirror.RECORD)
        self.stored = {f"{room}/{name}" for room in rooms for name in (copy / room).objects()}
        """The objects of states and of the record that the bucket holds."""
        self.record = b""
        self.history: History | None = None
        """The meaning of `record`."""
        self.written = time.monotonic()

    def run(self) -> None:
        """Copy now and then, and once more when it is over."""
        told = False
        while True:
            last = self.over.wait(SECONDS_BETWEEN_COPIES)
            try:
                self.copy_all(last)
                if told:
                    self.announce(f"{self.copy}: is up to date again.")
                told, self.missing = False, None
            except mirror.TakenOver as error:
                self.taken_over, self.missing = str(error), None
            except TuneAppError as error:
                if last:
                    self.missing = self.behind(str(error))
                elif not told:
                    self.announce(f"{error}; the search goes on, and copying is tried again")
                    told = True
            if last or self.taken_over:
                return

    def finish(self) -> None:
        """Have it copy once more, and wait for that."""
        if self.taken_over:
            return
        self.missing = self.behind("it was not waited for")
        self.over.set()
        try:
            self.thread.join(SECONDS_FOR_THE_LAST_COPY)
        except KeyboardInterrupt:
            self.announce(str(self.missing))
            raise
        if self.thread.is_alive():
            self.missing = self.behind("S3 does not answer")

    def behind(self, reason: str) -> str:
        """The part that the bucket does not hold, in words, and where it is."""
        size = self.local.record.stat().st_size if self.local.record.exists() else 0
        return (
            f"{self.copy}: the last {size - self.contents.bytes} of the record's {size} bytes are not there, nor"
            f" the states that go with them: {reason}; the whole experiment lies in {self.local.root}, and tune-app"
            " resume copies it"
        )

    def copy_all(self, last: bool) -> None:
        """Copy what has changed. Raises `TakenOver`, and `TuneAppError` where that cannot be done now."""
        states = self.snapshot()
        mirror.require_hold(self.copy, self.me)
        for name, state in states.items():
            self.put(name, state)
            if time.monotonic() - self.written > SECONDS_BETWEEN_COPIES:  # it takes long, but this process lives
                mirror.require_hold(self.copy, self.me)
                self.write(self.contents)
        record = self.contents.record
        if len(self.record) != self.contents.bytes:
            record = (mirror.Segment(name=f"00000-{self.me.id}", bytes=len(self.record)),)
            self.put(f"{mirror.RECORD}/{record[0].name}", self.record)
        created = self.history.created if self.history else self.contents.created
        self.write(mirror.Contents(created=created, holder=None if last else self.me, record=record))
        wanted = {*needed(self.history), *(f"{mirror.RECORD}/{segment.name}" for segment in record)}
        for name in self.stored - wanted:
            self.copy.remove(name)
            self.stored.discard(name)

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        self.copy.write(name, content)
        self.stored.add(name)

    def write(self, contents: mirror.Contents) -> None:
        """Let everyone see what has been copied."""
        mirror.write_contents(self.copy, contents)
        self.contents, self.written = contents, time.monotonic()

    def snapshot(self) -> dict[str, bytes]:
        """Read on in the record, up to a moment of which all states are there; those that the bucket lacks."""
        for _ in range(LOOKS):
            self.follow()
            states: dict[str, bytes] = {}
            complete = True
            for name, result in needed(self.history).items():
                if name not in self.stored:
                    try:
                        states[name] = read_state(self.local, result)
                    except TuneAppError:  # the trial has gone on; or it is damaged, and the one before will do
                        complete = False
            if complete:
                break
        return states

    def follow(self) -> None:
        """Read what has been written to the record since the last time, up to a whole line."""
        if not self.local.record.exists():
            return
        with self.local.record.open("rb") as file:
            file.seek(len(self.record))
            lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        for line in lines.splitlines():
            try:
                entry = decode(line)
                if self.history is None:
                    self.history = begun(entry)
                else:
                    self.history.apply(entry)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise TuneAppError(f"{self.local.record}: the record is damaged: {error}") from None
        self.record += lines
