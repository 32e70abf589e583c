"""Clear up after this process should it be killed: of Ray, two agents would stay for a minute, and its files.

A shell waits on a pipe. A line on it means that all ended well; its end without one, that this process is gone.
"""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT_AND_CLEAR = """
read -r _ && exit
sleep 1
directory=$1; shift
for pid; do
    grep -aq Agent "/proc/$pid/cmdline" && kill -9 "$pid"
done
rm -rf "$directory"
"""


@contextmanager
def reaper(directory: Path, agents: Iterable[int]) -> Iterator[None]:
    """If this process is killed within the block, end these agents of Ray and remove the directory."""
    command = ["sh", "-c", WAIT_AND_CLEAR, "reaper", str(directory), *map(str, agents)]
    shell = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is not meant for it
    )
    try:
        yield
    finally:
        with suppress(BrokenPipeError):  # someone ended it
            shell.communicate(b"\n")


def children(pid: int) -> list[int]:
    """The processes that `pid` started; none where /proc does not say."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
