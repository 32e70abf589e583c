"""Real Ray nodes on this machine: each a `ray start` of its own, the workers without a file system in common."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.conftest import alive, descendants, environment, program_of, wait_for

ALONE = 'mount -t tmpfs none "$TMPDIR" && mount -t tmpfs none experiments && exec "$@"'
"""Gives a process temporary and experiments directories of its own, without what others write there."""


class Nodes:
    """A cluster that grows and shrinks. The head shares the driver's files; all others have none in common."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = {**environment(folder), "RAY_USAGE_STATS_ENABLED": "0", **env}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def start(self, *arguments: object, python: Path = Path(sys.executable)) -> subprocess.Popen[bytes]:
        """Start the next node; the first is the head."""
        number = len(self.processes) + 1
        current = Path(self.env["TMPDIR"], "h", "ray_current_cluster")
        log = self.folder / f"node{number}.log"
        at = ("--node-ip-address", f"127.0.0.{number + 1}")
        command = [python, "-m", "ray.scripts.scripts", "start", "--block", *at]
        command += ["--object-store-memory", 120_000_000, "--disable-usage-stats"]
        command += ["--dashboard-agent-listen-port", 0, *arguments]  # else each asks for the same
        if number == 1:
            dashboard = ("--dashboard-host", "127.0.0.1", "--dashboard-port", 0)
            command += ["--head", "--port", 0, *dashboard, "--temp-dir", Path(self.env["TMPDIR"], "h")]
        else:
            (self.folder / "experiments").mkdir(exist_ok=True)
            command = ["unshare", "--mount", "sh", "-c", ALONE, "node", *command, "--address", self.address]
            command += ["--temp-dir", Path(self.env["TMPDIR"], "n")]
        env = {**self.env, "PATH": f"{python.parent}:{self.env['PATH']}"}  # jobs call their Python by its name
        with log.open("wb") as out:
            process = subprocess.Popen(list(map(str, command)), cwd=self.folder, env=env, stdout=out, stderr=out)
        self.processes.append(process)

        def up() -> bool:
            assert process.poll() is None, log.read_text()
            named = number > 1 or (current.exists() and current.stat().st_size > 0)
            return named and "Ray runtime started" in log.read_text()

        wait_for(up, f"node {number} is up")
        if number == 1:
            self.address = current.read_text().strip()
        return process

    @property
    def dashboard(self) -> str:
        """The URL of the dashboard and job server."""
        found = re.search(r"RAY_API_SERVER_ADDRESS='(http://[^']+)'", (self.folder / "node1.log").read_text())
        assert found
        return found[1]

    def kill(self, name: str) -> None:
        """Kill a process of the cluster by the name of its program."""
        for process in self.processes:
            for pid in descendants(process.pid):
                if program_of(pid) == name:
                    os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """End every process that was started."""
        pids = {pid for process in self.processes for pid in {process.pid} | descendants(process.pid)}
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def nodes(folder: Path, *head: object, python: Path = Path(sys.executable), **env: str) -> Iterator[Nodes]:
    """A cluster with a head, which is ended with the block."""
    cluster = Nodes(folder, **env)
    try:
        cluster.start(*head, python=python)
        yield cluster
    finally:
        cluster.end()


def python_without(folder: Path, *packages: str) -> Path:
    """A Python with all packages of this one but those: as on a machine where they are not installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    here = Path(sysconfig.get_path("purelib"))
    site = folder / "lib" / here.parent.name / "site-packages"
    for path in here.iterdir():
        name = re.split(r"[-.]", path.name.removeprefix("__editable__").lstrip("._"))[0]
        if name not in packages:
            (site / path.name).symlink_to(path)
    return folder / "bin" / "python"
