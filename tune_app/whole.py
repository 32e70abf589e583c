"""Files and folders that appear as a whole or not at all; streams are written to."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.machine import umask


def is_stream(path: Path) -> bool:
    """True if `path` is a pipe, a device or a file descriptor: it is written to, not replaced."""
    opened = os.path.realpath(path.parent).startswith("/proc/") or path.parent == Path("/dev")
    return path.exists() and not path.is_dir() and (opened or not path.is_file())


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write, which replaces `path` if all goes well; `TuneAppError` if it cannot be written.

    A link stays, and its target is replaced. A stream gets the content.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        stream = is_stream(path)
        if not stream:
            target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=None if stream else target.parent) as folder:
            part = Path(folder) / path.name
            yield part
            if stream:
                with part.open("rb") as content, path.open("ab") as sink:
                    shutil.copyfileobj(content, sink)
            else:
                part.chmod(0o666 & ~umask())
                part.replace(target)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be written: {error.strerror}") from None


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` if all goes well; where a link leads, if it is one.

    Raises `TuneAppError` where it exists or cannot be written.
    """
    if folder.exists():
        raise TuneAppError(f"{folder}: exists already, allowed: another folder with -o")
    try:
        target = Path(os.path.realpath(folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield part
            part.chmod(0o777 & ~umask())  # mkdtemp made it for the owner alone
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise TuneAppError(f"{folder}: cannot be written: {error.strerror}") from None
