"""train.py, the plain script of each level, gives the numbers that the app's own code gives."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.bundles import config_of
from tests.trainings import LEVELS, training
from tune_app.bundle.script import train_script
from tune_app.task.images.mnist import Mnist
from tune_app.task.loop import state
from tune_app.task.task import Config
from tune_app.task.tutorial import tutorial

pytestmark = pytest.mark.usefixtures("one_thread")


def run_script(folder: Path, text: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run the script in isolation: it sees neither this checkout nor PYTHONPATH."""
    (folder / "train.py").write_text(text)
    command = [sys.executable, "-I", "train.py", "--data", str(data), "-o", "weights.safetensors"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("level", LEVELS)
def test_a_script_gives_the_accuracies_losses_and_weights_of_the_level_to_the_last_bit(
    tmp_path: Path, small: Mnist, small_data: Path, level: str
) -> None:
    results = list(training(config_of(level), small, 120941839, 3).results(5 / 3))
    expected = [result for result, _ in results]
    done = run_script(tmp_path, train_script(config_of(level), 120941839, 5 / 3, 3, 1), small_data)
    assert (done.returncode, done.stderr) == (0, "")
    found = [line.split() for line in done.stdout.splitlines()]
    assert [float(words[4]) for words in found] == [result.valid["valid_accuracy"] for result in expected]
    assert [float(words[7]) for words in found] == [result.valid["valid_loss"] for result in expected]
    assert [words[1] for words in found] == [f"{result.epoch:g}" for result in expected]
    weights = load_file(tmp_path / "weights.safetensors")
    trained = {
        name.removeprefix("model.").removeprefix("keeps."): w for name, w in state.weights(results[-1][1]).items()
    }
    assert weights.keys() == trained.keys()
    assert all((weights[name] == w.numpy()).all() for name, w in trained.items())


@pytest.mark.parametrize("level", ["scratch", "accelerator"])
def test_the_files_that_a_script_is_made_of_run_where_they_are(
    tmp_path: Path, small_data: Path, level: str
) -> None:
    found: Config = {
        "lr": 0.1,
        "bs": 64,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "width": 1,
    }  # those of pieces/found.py
    config = {"level": level} | {name: found[name] for name in tutorial().levels[level].defaults}
    command = [sys.executable, "-m", f"tune_app.task.tutorial.plain.{level}", "--data", str(small_data)]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    assert there.stdout == run_script(tmp_path, train_script(config, 0, 2.0, 4, 1), small_data).stdout
    assert there.stdout.count("\n") == 8
