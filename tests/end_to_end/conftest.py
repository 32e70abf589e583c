"""Real processes on a real local Ray: how they are started, watched and ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "tune_app"]
OF_TESTS = ["env", f"PYTHONPATH={Path(__file__).parents[2]}", sys.executable, "-m"]
HASTY = [*OF_TESTS, "tests.end_to_end.hasty"]
MADE_UP = [*OF_TESTS, "tests.end_to_end.made_up_workers"]


def can_mount() -> bool:
    """Whether this user may mount something in a namespace of its own."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return (
        bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs root, to mount")


def temporary(folder: Path) -> Path:
    """The temporary directory of the commands that run in `folder`: a short path, for Ray's sockets."""
    return Path("/tmp") / f"t{zlib.crc32(str(folder).encode()):08x}"


def left_in(folder: Path) -> list[Path]:
    """What lies in a temporary directory, without the cache folder that torch makes in any."""
    return [path for path in folder.iterdir() if not path.name.startswith("torchinductor")]


def environment(folder: Path) -> dict[str, str]:
    """A home and a temporary directory of the test's own."""
    temporary(folder).mkdir(exist_ok=True)
    made.add(temporary(folder))
    return {**os.environ, "HOME": str(folder), "TMPDIR": str(temporary(folder)), "RAY_AUTH_MODE": "disabled"}


made: set[Path] = set()


@pytest.fixture(scope="session", autouse=True)
def no_temporary_directory_stays() -> Iterator[None]:
    """Remove the temporary directories when all tests are done."""
    yield
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


def tune_app(
    folder: Path, *arguments: object, timeout: float = 240, command: Sequence[str] = COMMAND
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` to its end."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def succeed(folder: Path, *arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a command that succeeds."""
    done = tune_app(folder, *arguments, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Look again and again until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """The living processes that `pid` started, and those that they started."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # its thread has ended meanwhile
            found.update(map(int, children.read_text().split()))
    return found.union(*map(descendants, found))


def program_of(pid: int) -> str:
    """The file name of the program that a process runs, or of its script if that is Python; "" if it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return ""
    scripts = [word for word in words[1:] if not word.startswith("-")]
    return Path(scripts[0] if "python" in Path(words[0]).name and scripts else words[0]).name


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_all(pid: int) -> None:
    """End a process and all that it started, at once."""
    for one in {pid} | descendants(pid):
        if alive(one):
            os.kill(one, signal.SIGKILL)


def using(folder: Path) -> set[int]:
    """The living processes that have a file open below `folder`."""
    found: set[int] = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # closed meanwhile, or not ours
            if descriptor.readlink().is_relative_to(folder):
                found.add(int(descriptor.parts[2]))
    return found


class Running:
    """A command that runs in the background."""

    def __init__(self, folder: Path, *arguments: object, command: Sequence[str] = COMMAND) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_results(self, name: str, n: int, experiments: Path | None = None) -> None:
        """Until the record of the experiment holds `n` results."""
        record = (experiments or self.folder / "experiments") / name / "record.jsonl"

        def there() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            return record.exists() and record.read_text().count('"kind":"result"') >= n

        wait_for(there, f"there are {n} results")

    def wait_for_line(self, words: str) -> str:
        """The next line on stderr with these words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return line
        raise AssertionError(self.process.wait())

    def end(self, seconds: float = 60, code: int = 0) -> tuple[str, str]:
        """Wait for the end with that exit code: stdout, stderr."""
        out, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == code, out + err
        return out, err


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands in the background; what still runs at the end of the test is killed."""
    running: list[Running] = []

    def start(*arguments: object, command: Sequence[str] = COMMAND, folder: Path = tmp_path) -> Running:
        running.append(Running(folder, *arguments, command=command))
        return running[-1]

    yield start
    for one in running:
        kill_all(one.process.pid)
        one.process.wait()
