"""Files and folders that appear as a whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_app.errors import TuneAppError

OPENED = (Path("/dev"), Path("/dev/fd"))
"""Where streams that are open have names: one may lead to a file that has more in it."""


@contextmanager
def whole(path: Path, folder: bool = False) -> Iterator[Path]:
    """A file to write, or an empty `folder` to fill, which becomes `path` if all goes well.

    A link stays: what it leads to is made, or replaced. Raises `TuneAppError` where something is there already that
    is no file, or a folder is to be, and where it cannot be written.
    """
    try:
        if folder and path.exists():
            raise TuneAppError(f"{path}: exists already, allowed: another folder with -o")
        if path.exists() and (not path.is_file() or path.parent in OPENED):
            raise TuneAppError(f"{path}: is no file that can be replaced, allowed: a file, there or not, with -o")
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
            part = Path(beside, target.name)
            if folder:
                part.mkdir()
            yield part
            part.replace(target)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be written: {error.strerror}") from None
