"""Files that appear as a whole or not at all; streams are written to."""

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
