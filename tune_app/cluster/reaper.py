"""Clear up after a Ray of our own, however this process ends.

When it is killed, Ray's agents would stay for a minute, what was just starting for ever, and its files, too. So a
shell waits at a pipe that ends with this process. All processes of that Ray inherit a variable that tells them.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = "TUNE_APP_TEMPORARY"
"""The variable that names the folder of a Ray of our own to all processes of it."""
KEEP_ENVIRONMENT = "SPT_NOENV"
"""Without it, Ray's agents write their title over the environment that /proc shows of them."""
WAIT_AND_CLEAR = """
read -r _
while found=$(grep -als "$1" /proc/[0-9]*/environ); [ -n "$found" ]; do
    for environ in $found; do
        pid=${environ#/proc/}
        kill -9 "${pid%/environ}"
    done
    sleep 0.05
done
rm -rf "$2"
"""
"""Waits for a line or the end of the pipe; without /proc, nothing is found and the files alone go."""
in_use: list[Path] = []
"""The directory of the Ray of our own, while there is one."""


@contextmanager
def reaper(directory: Path) -> Iterator[None]:
    """At the end of the block or of this process, end what is left of what was `marked`, and remove `directory`."""
    shell = subprocess.Popen(
        ["sh", "-c", WAIT_AND_CLEAR, "reaper", f"{TEMPORARY}={directory}", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is not meant for it
    )
    in_use.append(directory)
    try:
        yield
    finally:
        in_use.remove(directory)
        with suppress(BrokenPipeError):  # someone ended it
            shell.communicate(b"\n")


def processes_of(directory: Path) -> list[int]:
    """The living processes that were `marked` by this directory, where there is /proc."""
    found, mark = [], os.fsencode(f"{TEMPORARY}={directory}")
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # has ended, or is somebody else's
            if mark in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return found


@contextmanager
def marked(directory: Path) -> Iterator[None]:
    """Mark the processes that are started within the block, and all that these start: no others of this process.

    Their own temporary files lie in `directory`, too, and go with it.
    """
    marks = {TEMPORARY: str(directory), KEEP_ENVIRONMENT: "1", "TMPDIR": str(directory)}
    before = {name: os.environ.get(name) for name in marks}
    os.environ.update(marks)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
