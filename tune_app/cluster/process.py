"""State that belongs to this process as a whole, and that a Ray within it needs otherwise for a while."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

SEARCHING = threading.Lock()
"""Held while this process is connected to Ray, which knows one cluster a process."""
OF_RAY = ("RAY_", "TUNE_", "PYTHONBREAKPOINT")
"""How the names of the variables begin that Ray reads and, some of them, sets itself."""


@contextmanager
def one_at_a_time(announce: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other thread of this process is searching, and let none begin within the block."""
    if not SEARCHING.acquire(blocking=False):
        announce("Another search is running in this process; this one begins when that has ended.")
        SEARCHING.acquire()
    try:
        yield
    finally:
        SEARCHING.release()


@contextmanager
def variables(values: Mapping[str, str], without: Sequence[str] = ()) -> Iterator[None]:
    """Within the block, Ray finds these environment variables, and none of those that it shall do `without`.

    After it, they and all of Ray's are as before.
    """

    def ours() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith(OF_RAY) or name in values}

    before = ours()
    os.environ.update(values)
    for name in without:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name in ours():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def away_from_code(folder: Path) -> Iterator[None]:
    """Within the block, `folder` is the current directory, and no script seems to be running.

    Ray lets its workers import from the current directory and from the folder of the running script, before all
    else: a torch.py that lies there would run in each of them. A PYTHONPATH keeps its meaning.
    """
    try:
        os.chdir(Path.cwd())
    except OSError:  # there is no way back there, and none for workers: sudo in a closed folder
        yield
        return
    path = os.environ.get("PYTHONPATH")
    argv, sys.argv = sys.argv, [""]
    if path:
        parts = (str(Path(part).absolute()) for part in path.split(os.pathsep) if part)
        os.environ["PYTHONPATH"] = os.pathsep.join(parts)
    try:
        with chdir(folder):
            yield
    finally:
        sys.argv = argv
        if path:
            os.environ["PYTHONPATH"] = path
