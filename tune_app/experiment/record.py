"""The record of an experiment: one append-only file of JSON lines, from which everything else is read.

Each line carries a running number and a CRC-32 of itself. A line is on disk before what it says is acted
on. One process writes, by an flock that ends with it; readers create nothing, and hold the
lock no longer than it takes to see whether it is free.
"""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tune_app.errors import TuneAppError

FORMAT = 5
"""The form of the entries, and of the states beside them."""
LOCK_TRIES, SECONDS_BETWEEN_TRIES = 10, 0.02
Entry = dict[str, Any]


def encode(entry: Entry) -> bytes:
    """An entry as a line that ends with its own CRC."""
    text = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    body = text.encode(errors="backslashreplace")  # half a surrogate pair, from a traceback, becomes JSON's \\udc80
    return b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def decode(line: bytes) -> Entry:
    """The entry of a line; `ValueError` where the line is not what was written."""
    head, mark, crc = line.rpartition(b',"crc":"')
    body = head + b"}"
    if not mark or crc != f'{zlib.crc32(body):08x}"}}'.encode():
        raise ValueError("its checksum does not fit")
    entry: Entry = json.loads(body)
    return entry


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of a record, first to last; a torn last line is passed over.

    Raises `TuneAppError` with file and line for any other damage, and for a newer format.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise TuneAppError(f"{path}: no such record") from None
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        for n, line in enumerate(file):
            if not line.endswith(b"\n"):
                return
            try:
                entry = decode(line[:-1])
                if entry["n"] != n:
                    raise ValueError(f"it is entry {entry['n']}, not {n}")
            except (ValueError, KeyError, TypeError) as error:
                raise TuneAppError(f"{path}, line {n + 1}: the record is damaged: {error}") from None
            if n == 0 and entry.get("format") != FORMAT:
                raise TuneAppError(
                    f"{path}: format {entry.get('format')}, allowed: {FORMAT}; {writer(entry)} reads it"
                )
            yield entry


def writer(first: Entry) -> str:
    """The version that wrote the first entry of a record, and so reads it."""
    try:
        return f"tune_app {first['spec']['versions']['tune_app']}"
    except (KeyError, TypeError):
        return "another tune_app"


def refuse_existing(folder: Path) -> None:
    """Raise `TuneAppError` where something of that name is there already; an empty folder waits for a record."""
    try:
        free = not any(folder.iterdir())
    except OSError:  # it is not there, or no folder that can be read
        free = not folder.exists()
    if not free:
        raise exists_already(folder, folder.name, busy(folder))


def exists_already(where: object, name: str, doing: str | None) -> TuneAppError:
    """The error of a name that is taken; `doing`: see `busy`."""
    if doing:
        return TuneAppError(f"{where}: exists already and is being {doing} right now, allowed: another --name")
    return TuneAppError(f"{where}: exists already, allowed: another --name, or tune-app remove {name}")


def busy(folder: Path) -> str | None:
    """How a process is at work on an experiment right now: "searched" or "confirmed"; None: none is."""
    for doing, records in ("searched", "record.jsonl"), ("confirmed", "*/record.jsonl"):
        with suppress(OSError):  # a record that is not ours to read
            if any(map(is_held, folder.glob(records))):
                return doing
    return None


class RecordWriter:
    """Appends entries. Only one process at a time can hold it."""

    def __init__(self, path: Path, descriptor: int, n: int) -> None:
        self.path, self.descriptor, self.n = path, descriptor, n

    @classmethod
    def create(cls, path: Path) -> Self:
        """Begin a record; `TuneAppError` if there is one already."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        except FileExistsError:
            raise TuneAppError(f"{path.parent}: exists already: another process has begun it meanwhile") from None
        except OSError as error:
            raise TuneAppError(f"{path.parent}: cannot be created: {error.strerror}") from None
        lock(path, descriptor)
        return cls(path, descriptor, 0)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Go on with a record: take its lock and cut off a torn last line.

        Raises `TuneAppError` where it is damaged or another process holds it.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise TuneAppError(f"{path}: cannot be opened: {error.strerror}") from None
        lock(path, descriptor)
        try:
            n = sum(1 for _ in read_entries(path))
            os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, n)

    def append(self, entry: Entry) -> Entry:
        """Write an entry to disk and return it with its number; `TuneAppError` if it cannot be written."""
        numbered = {"n": self.n, **entry}
        line = encode(numbered)
        size = os.fstat(self.descriptor).st_size
        try:
            written = os.write(self.descriptor, line)
            if written != len(line):
                raise OSError(0, "no space left on device")
            os.fsync(self.descriptor)
        except OSError as error:
            with suppress(OSError):  # half a line would spoil the next
                os.ftruncate(self.descriptor, size)
            raise TuneAppError(f"{self.path}: cannot be written: {error.strerror}") from None
        self.n += 1
        return numbered

    def close(self) -> None:
        """Give the record back; the lock ends with the descriptor."""
        os.close(self.descriptor)


def lock(path: Path, descriptor: int) -> None:
    """Take the lock, or close the descriptor and say who cannot have it."""
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if attempt == LOCK_TRIES:
                os.close(descriptor)
                raise TuneAppError(f"{path.parent}: another process is searching it") from None
            time.sleep(SECONDS_BETWEEN_TRIES)  # a reader may be looking whether someone holds it
        except OSError as error:
            os.close(descriptor)
            raise TuneAppError(f"{path}: cannot be locked: {error.strerror}") from None


def is_held(path: Path) -> bool:
    """Whether a process is writing this record."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
