"""Files that appear as a whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.machine import umask


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write, which replaces `path` when all went well; `TuneAppError` where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            part = Path(folder) / path.name
            yield part
            part.chmod(0o666 & ~umask())
            part.replace(path)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be written: {error.strerror}") from None
