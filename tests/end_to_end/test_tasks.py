"""Tasks of one's own as whole processes: from a search that is killed to a bundle that gives the same numbers."""

import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.bundles import run
from tests.end_to_end.conftest import Running, Start, descendants, succeed, wait_for
from tests.end_to_end.invariants import outcome
from tests.end_to_end.test_resume import none_lives
from tests.tasks.test_ports import PORTS
from tune_app.experiment.record import read_entries

ALWAYS = "files"
"""Draws in workers that load batches. That the others go on exactly too, without Ray: tests/tasks/test_ports.py."""
PER_EPOCH = 10
QUICK = ("layers", "mixed_precision")
"""Quick results reach the driver together up to a rung: these ports need more of them to be seen before one."""
SPACE = """
task: {name}.py
space: {{lr: {{loguniform: [0.001, 0.01]}}, bs: {bs}}}
search:
  {{num_samples: 2, max_epochs: {epochs}, grace_period: {grace}, results_per_epoch: {per_epoch},
    max_concurrent_trials: 1, sampler: random}}
"""


def stop_in_mid_epoch(running: Running, record: Path) -> bytes:
    """Stop a driver where its last result is not at the end of an epoch, kill it, and return what it recorded."""

    def state() -> str:
        stat = Path(f"/proc/{running.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]

    def stopped() -> bool:
        assert running.process.poll() is None, running.process.communicate()
        running.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: state() in "TZ", "the driver has stopped or ended")
        assert state() == "T", "it has ended, and was never seen in mid-epoch"
        results = [entry for entry in read_entries(record) if entry["kind"] == "result"]
        if results[-1]["k"] % PER_EPOCH:
            return True
        running.process.send_signal(signal.SIGCONT)
        return False

    wait_for(stopped, "the last result is in mid-epoch")
    processes = {running.process.pid} | descendants(running.process.pid)
    running.process.kill()
    wait_for(partial(none_lives, processes), "no process is left", 30)
    return record.read_bytes()


def told(*arguments: object) -> str:
    """The last line that a command prints which succeeds, in this process."""
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()[-1]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == ALWAYS else pytest.mark.soak) for name in PORTS]
)
def test_a_port_is_killed_in_mid_epoch_resumed_to_the_same_floats_confirmed_exported_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(Path(__file__).parents[1] / "tasks" / f"{name}.py", tmp_path)
    epochs, grace = (16, 15) if name in QUICK else (3, 2)
    bs = 8 if name == "resnet" else 2  # it is slow
    space = SPACE.format(name=name, bs=bs, epochs=epochs, grace=grace, per_epoch=PER_EPOCH)
    (tmp_path / "space.yaml").write_text(space)
    (tmp_path / "data").mkdir()
    search = ("search", "space.yaml", "--data", "data", "--name")
    told(*search, "whole", "--in-process")
    running = start(*search, "killed", "--no-dashboard")
    running.wait_for_results("killed", 2)
    record = tmp_path / "experiments" / "killed" / "record.jsonl"
    acknowledged = stop_in_mid_epoch(running, record)
    succeed(tmp_path, "resume", "killed", "--no-dashboard")
    assert record.read_bytes().startswith(acknowledged[: acknowledged.rfind(b"\n") + 1])
    assert outcome(tmp_path, "killed") == outcome(tmp_path, "whole")
    told("confirm", "killed", "--top", 1, "--seeds", 2, "--in-process")
    told("export", "killed", "-o", "best")
    for again in (("verify", "best"), ("train", "killed", "--trial", 1)):
        assert told(*again).startswith("The same valid ")
