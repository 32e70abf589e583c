"""Copy an experiment to a bucket while it is searched, and bring it from there to go on.

A thread reads the experiment as any reader does: every line of the record that is whole, and the states that those
lines need: the last two of trials that run, and those that led. It copies the states, then the record, then says
so in `mirror.json`, and only then removes the states that are needed no longer. A search that finds S3 unreachable
goes on: it loses nothing, for its own folder is whole at any time.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.experiment.history import History, replay
from tune_app.experiment.record import decode, is_held
from tune_app.experiment.spec import Paths, Spec
from tune_app.experiment.states import read_state
from tune_app.storage.bucket import Bucket, Missing
from tune_app.storage.hold import TakenOver, alone_here, require_hold, take
from tune_app.storage.mirror import (
    CONTENTS,
    RECORD,
    SEGMENT_BYTES,
    STATES,
    Contents,
    Holder,
    Segment,
    download_record,
    download_state,
    state_name,
    write_contents,
)
from tune_app.task.result import Result

SECONDS_BETWEEN_COPIES = 25
"""So that with the time that copying takes no more than 30 s of a search are repeated."""
SECONDS_FOR_THE_LAST_COPY = 60
LOOKS = 3
"""How often the states of one moment are looked for, while trials go on and replace them."""


@dataclass
class Copying:
    """How it goes with the copy. `taken_over`, `missing`: None, or what went wrong in one line.

    `finish` copies once more and waits for it; nothing is copied after that.
    """

    taken_over: str | None = None
    missing: str | None = None
    finish: Callable[[], None] = lambda: None


@contextmanager
def mirrored(at: Paths, announce: Callable[[str], None]) -> Iterator[Copying]:
    """Within the block, `at` is copied to its bucket, if it has one, and nobody else searches it there.

    At first `at` becomes what the bucket holds. At the end all is there, or `missing` says what is not. Raises
    `TuneAppError` where somebody else searches it, or S3 does not answer.
    """
    copying = Copying()
    if at.copy is None:
        yield copying
        return
    with alone_here(at) as descriptor:
        me = Holder.this()
        contents = take(at, at.copy, me, descriptor, time.time())
        try:
            bring_here(at, at.copy, contents, announce)
            mirror = Mirror(at, at.copy, me, contents, copying, announce)
        except BaseException:
            let_go(at.copy, contents)
            raise
        mirror.thread.start()
        copying.finish = mirror.finish
        try:
            yield copying
        except BaseException:
            mirror.finish()
            if copying.missing and at.record.exists():
                announce(copying.missing)
            elif not at.record.exists() and not copying.taken_over:
                let_go(at.copy, contents)
            raise
        mirror.finish()


def let_go(copy: Bucket, contents: Contents) -> None:
    """Search it no longer; of an experiment that has not begun nothing stays."""
    try:
        if contents.record:
            write_contents(copy, contents.model_copy(update={"holder": None}))
        else:
            copy.remove(CONTENTS)  # from then on it is none
            copy.remove_all()
    except TuneAppError:  # then it is free when it has grown old
        pass


def bring_here(at: Paths, copy: Bucket, contents: Contents, announce: Callable[[str], None]) -> None:
    """Make `at` what the bucket holds, unless it is that and more already."""
    if not contents.record:
        return
    at.root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{at.root.name}-", dir=at.root.parent) as temporary:
        part = Paths(Path(temporary, at.root.name))
        part.states.mkdir(parents=True)
        download_record(copy, part.record)
        there, here = part.record.read_bytes(), at.record.read_bytes() if at.record.exists() else b""
        if here.startswith(there):
            return
        for result in needed(replay(part.record)).values():
            try:
                part.state(result.trial, result.k).write_bytes(download_state(copy, result))
            except Missing:  # the trial goes on from the state before, or from the start
                continue
        if at.root.exists():
            if is_held(at.record):
                raise TuneAppError(f"{at.root}: is being searched by another process on this machine")
            set_aside(at.root, there.startswith(here), announce)
        part.root.rename(at.root)


def set_aside(root: Path, superseded: bool, announce: Callable[[str], None]) -> None:
    """Make room for what the bucket holds; what the bucket does not hold is kept."""
    if superseded:
        shutil.rmtree(root)
        return
    aside = root.with_name(f".{root.name}-{datetime.now():%Y%m%d-%H%M%S}")
    root.rename(aside)
    announce(
        f"{root.name}: the search went on elsewhere from an earlier point; what only this machine had: {aside}"
    )


def needed(history: History) -> dict[str, Result]:
    """The results whose states are needed to go on and to export, by the states' names in the bucket."""
    results = [result for trial in history.trials for result in trial.resumable]
    results += [kept for trial in history.trials if (kept := history.kept(trial.number))]
    return {state_name(result): result for result in results}


class Mirror:
    """Copies one experiment until it is over."""

    def __init__(
        self,
        at: Paths,
        copy: Bucket,
        me: Holder,
        contents: Contents,
        copying: Copying,
        announce: Callable[[str], None],
    ) -> None:
        self.local, self.copy, self.me, self.contents = Paths(at.root), copy, me, contents
        self.copying, self.announce = copying, announce
        self.thread = threading.Thread(target=self.run, daemon=True, name="mirror")
        self.over = threading.Event()
        self.stored = set((copy / STATES).objects())
        self.history: History | None = None
        self.read = 0
        """Bytes of the record that `history` holds."""
        self.closed = contents.record
        """Segments that are not written again."""
        self.open = b""
        """The bytes that go into segments after these."""
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
                told, self.copying.missing = False, None
            except TakenOver as error:
                self.copying.taken_over, self.copying.missing = str(error), None
            except TuneAppError as error:
                if last:
                    self.copying.missing = self.behind(str(error))
                elif not told:
                    self.announce(f"{error}; the search goes on, and copying is tried again")
                    told = True
            if last or self.copying.taken_over:
                return

    def finish(self) -> None:
        """Have it copy once more, and wait for that."""
        if self.copying.taken_over:
            return
        self.copying.missing = self.behind("it was not waited for")
        self.over.set()
        try:
            self.thread.join(SECONDS_FOR_THE_LAST_COPY)
        except KeyboardInterrupt:
            self.announce(str(self.copying.missing))
            raise
        if self.thread.is_alive():
            self.copying.missing = self.behind("S3 does not answer")

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
        require_hold(self.copy, self.me)
        wanted = needed(self.history) if self.history else {}
        for name, state in states.items():
            (self.copy / STATES).write(name, state)
            self.stored.add(name)
            self.stay_alive()
        pieces = [self.open[i : i + SEGMENT_BYTES] for i in range(0, len(self.open), SEGMENT_BYTES)]
        segments = []
        for number, piece in enumerate(pieces, len(self.closed)):
            segments.append(Segment(name=f"{number:05d}-{self.me.id}", bytes=len(piece)))
            if self.is_new(segments[-1]):
                (self.copy / RECORD).write(segments[-1].name, piece)
                self.stay_alive()
        created = self.history.created if self.history else self.contents.created
        contents = Contents(created=created, holder=None if last else self.me, record=(*self.closed, *segments))
        self.write(contents)
        for segment in segments[:-1]:
            self.closed += (segment,)
            self.open = self.open[segment.bytes :]
        for name in self.stored - set(wanted):
            (self.copy / STATES).remove(name)
            self.stored.discard(name)

    def is_new(self, segment: Segment) -> bool:
        """Whether the bucket lacks something of it."""
        return segment not in self.contents.record

    def stay_alive(self) -> None:
        """Say that this process still searches, where copying takes long."""
        if time.monotonic() - self.written > SECONDS_BETWEEN_COPIES:
            require_hold(self.copy, self.me)
            self.write(self.contents)

    def write(self, contents: Contents) -> None:
        """Let everyone see what has been copied."""
        write_contents(self.copy, contents)
        self.contents, self.written = contents, time.monotonic()

    def snapshot(self) -> dict[str, bytes]:
        """Read on in the record, up to a moment of which all states are there; those that the bucket lacks."""
        for _ in range(LOOKS):
            self.follow()
            states: dict[str, bytes] = {}
            complete = True
            for name, result in needed(self.history).items() if self.history else ():
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
            file.seek(self.read)
            lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        for line in lines.splitlines():
            try:
                entry = decode(line)
                if self.history is None:
                    self.history = History(Spec.model_validate(entry["spec"]), entry["time"])
                else:
                    self.history.apply(entry)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise TuneAppError(f"{self.local.record}: the record is damaged: {error}") from None
        copied = max(0, sum(s.bytes for s in self.closed) - self.read)  # before this process began
        self.open += lines[copied:]
        self.read += len(lines)
