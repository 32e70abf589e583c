"""Confirming the winner of a search on a slice of MNIST that has test images: on Ray, or in one process alone."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bundles import run, search_really
from tests.conftest import SHIPPED
from tests.end_to_end.conftest import succeed, wait_for
from tune_app.confirmation import values_with_intervals
from tune_app.task import loading
from tune_app.task.tutorial import tutorial

SPACE = {"level": {"choice": ["linear", "cnn"]}, "lr": {"loguniform": [0.05, 0.5]}, "bs": 32}
SETTINGS: dict[str, Any] = {"num_samples": 6, "max_epochs": 4, "results_per_epoch": 2, "seed": 3}
CONFIRM = ("confirm", "x", "--top", "3", "--seeds", "4", "--json")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of three splits and a search of them, x."""
    folder = tmp_path_factory.mktemp("searched")
    table = pq.read_table(SHIPPED)
    parts = [
        table.filter(pa.compute.equal(table["split"], name)).slice(0, n)
        for name, n in (("train", 2000), ("valid", 500), ("test", 400))
    ]
    pq.write_table(pa.concat_tables(parts), folder / "data.parquet")
    search_really(folder, "x", SPACE, "data.parquet", **SETTINGS)
    return folder


@pytest.fixture(scope="module")
def confirmed(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of it that was confirmed without an interruption and without Ray, and the answer."""
    folder = tmp_path_factory.mktemp("confirmed")
    shutil.copytree(searched, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        done = run(*CONFIRM, "--in-process")
    assert done.exit_code == 0, done.output
    return folder, done.stdout


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    return tmp_path


def outcome(answer: dict[str, object]) -> object:
    """What an interruption must not change: not when runs ended, and not those that did not count."""
    candidates = [{**c, "seconds": None} for c in answer["candidates"]]  # type: ignore[attr-defined]
    return {**answer, "candidates": candidates}


def test_a_confirmation_that_is_killed_ends_as_one_that_is_not(folder, start, confirmed) -> None:
    record = folder / "experiments" / "x" / "confirmation-1" / "record.jsonl"
    killed = start(*CONFIRM, "--no-dashboard")
    wait_for(lambda: record.exists() and record.read_text().count('"kind":"result"') >= 6, "there are 6 results")
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.end(code=-signal.SIGKILL)
    acknowledged = record.read_bytes()
    interrupted = start(*CONFIRM, "--in-process")
    n = acknowledged.count(b'"kind":"result"')
    wait_for(lambda: record.read_text().count('"kind":"result"') >= n + 6, "there are 6 more")
    os.kill(interrupted.process.pid, signal.SIGINT)
    out, _ = interrupted.end(code=130)
    assert json.loads(out)["state"] == "interrupted"
    done = succeed(folder, *CONFIRM, "--in-process")
    torn = acknowledged[: acknowledged.rfind(b"\n") + 1]
    assert record.read_bytes().startswith(torn)
    assert outcome(json.loads(done.stdout)) == outcome(json.loads(confirmed[1]))


def test_the_answer_says_what_the_winner_is_worth_on_images_that_no_search_saw(confirmed, monkeypatch) -> None:
    folder, printed = confirmed
    monkeypatch.chdir(folder)
    answer = json.loads(printed)
    winner, test = answer["winner"], answer["test"]
    assert winner["interval"][0] <= winner["valid_accuracy"] <= winner["interval"][1]
    assert test["items"] == 400
    assert test["interval"][0] < test["accuracy"] < test["interval"][1]
    assert abs(test["accuracy"] - winner["valid_accuracy"]) < 0.1
    assert run(*CONFIRM).stdout == printed
    words = run("confirm", "x").stdout
    assert f"valid accuracy {winner['valid_accuracy']:.4f}" in words
    assert "on 400 items, read once" in words

    # The weights that were tested are kept, and come out the same when they are tried again.
    (state,) = (folder / "experiments" / "x" / "confirmation-1" / "states").iterdir()
    found = loading.tested(
        tutorial(), str(folder / "data.parquet"), None, winner["config"], 1, 0, state.read_bytes()
    )
    assert found is not None
    assert values_with_intervals(found)["valid_accuracy"][0] == test["accuracy"]

    # They are what is exported, and the bundle's own script comes to the same numbers.
    exported = json.loads(run("export", "x", "-o", "best", "--json").stdout)
    assert exported["metrics"]["test_accuracy"] == test["accuracy"]
    assert exported["metrics"]["mean_valid_accuracy_interval"] == winner["interval"]
    assert exported["seed"] == test["seed"]
    assert exported["metrics"]["valid_accuracy"] == exported["results"]["valid_accuracy"][-1]
    verified = json.loads(run("verify", "best", "--json").stdout)
    assert verified["exactly"]


def test_a_search_can_be_confirmed_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    few = ("--num-samples", 2, "--max-epochs", 1, "--grace-period", 1, "--data", "data.parquet")
    done = run("search", "quick", "--name", "y", *few, "--in-process", "--confirm", "--quiet")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 trials")
    assert any(line.startswith("Confirmed: valid accuracy") and "over 10 fresh seeds" in line for line in lines)
    assert any(line.startswith("Test accuracy: ") for line in lines)
