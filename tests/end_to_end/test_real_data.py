"""The whole MNIST."""

import json
import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import SHIPPED
from tests.end_to_end.conftest import Start, succeed, wait_for
from tune_app.storage.load import load_experiment

CNN = """
space:
  level: cnn
  lr: {grid: [0.1, 0.001]}
search: {max_epochs: 2, results_per_epoch: 4, grace_period: 0.75, reduction_factor: 3}
"""


def test_a_search_over_cnns_reaches_092_and_stops_a_hopeless_trial(tmp_path: Path) -> None:
    (tmp_path / "cnn.yaml").write_text(CNN)
    done = succeed(tmp_path, "search", "cnn.yaml", "--name", "x", "--in-process", "--json")
    outcome = json.loads(done.stdout)
    assert outcome["best"]["valid_accuracy"] >= 0.92
    (stopped,) = [trial for trial in outcome["trials"] if trial["state"] == "stopped"]
    assert (stopped["config"]["lr"], stopped["epoch"]) == (0.001, 0.75)
    assert stopped["reason"].startswith("epoch 0.75: ")
    assert load_experiment("x", tmp_path / "experiments").history.spec.data.train == 50_000


def private_bytes(pid: int) -> int:
    """Memory that no other process shares."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def training(folder: Path, name: str) -> list[int]:
    """The workers, one for each CPU, when all have trained their trial for two epochs or more."""

    def pids() -> list[int]:
        trials = load_experiment(name, folder / "experiments").history.trials
        return [t.attempts[0]["pid"] for t in trials if len(t.results) >= 2 and not t.ended]

    wait_for(lambda: len(pids()) == len(os.sched_getaffinity(0)), "every worker has trained for two epochs")
    return pids()


@pytest.mark.parametrize("level", ["linear", pytest.param("validation", marks=pytest.mark.soak)])
def test_a_worker_has_next_to_no_memory_of_its_own_for_the_data(tmp_path: Path, start: Start, level: str) -> None:
    table = pq.read_table(SHIPPED)
    few = [table.filter(pa.compute.equal(table["split"], name)).slice(0, 1000) for name in ("train", "valid")]
    pq.write_table(pa.concat_tables(few), tmp_path / "few.parquet")
    (tmp_path / "space.yaml").write_text(
        f"space: {{level: {level}, bs: 50}}\nsearch: {{num_samples: 4, max_epochs: 10000, results_per_epoch: 1}}"
    )
    measured = {}
    for name, data in (("all", []), ("few", ["--data", tmp_path / "few.parquet"])):
        running = start("search", "space.yaml", "--name", name, "--no-dashboard", "--no-early-stopping", *data)
        running.wait_for_results(name, 6)
        measured[name] = [private_bytes(pid) for pid in training(tmp_path, name)]
        running.process.send_signal(signal.SIGINT)
        running.end(code=130)
    assert max(measured["all"]) - min(measured["few"]) < 10_000_000, measured  # of 47 MB
