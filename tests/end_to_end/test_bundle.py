"""An exported CNN on all of MNIST, and its train.py where nothing of tune_app is installed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bundles import make_bundle
from tests.end_to_end.conftest import environment, tune_app
from tune_app.bundle.manifest import read_bundle
from tune_app.task.levels import complete
from tune_app.task.tutorial import sources

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("torch", "numpy", "safetensors", "pyarrow")


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's CNN, one epoch of MNIST with a result each half."""
    return make_bundle(tmp_path_factory.mktemp("mnist"), complete({"level": "cnn"}), None, 1, 2)


def test_the_exported_weights_tell_the_validation_images_as_well_as_exported(best: Path) -> None:
    valid = sources.load().valid
    np.save(best.parent / "valid.npy", valid.x)
    done = tune_app(best.parent, "predict", "best", "valid.npy", "--json")
    assert done.returncode == 0, done.stderr
    found = [image["class"] for image in json.loads(done.stdout)]
    hits = int((np.array(found) == valid.y).sum())
    assert hits / len(valid.y) == read_bundle(best).metrics["valid_accuracy"]


def test_verify_says_that_the_numbers_come_back(best: Path) -> None:
    done = tune_app(best.parent, "verify", "best")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "The same valid accuracies as in the search."


def test_train_py_needs_four_packages_and_nothing_of_tune_app(best: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=tmp_path, check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["-c", str(ROOT / "constraints.txt"), *NEEDED]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    if "No matching distribution" in installed.stderr:
        pytest.skip("no package index")
    assert installed.returncode == 0, installed.stderr
    unknown = subprocess.run([python, "-c", "import tune_app"], cwd=tmp_path, capture_output=True, check=False)
    assert unknown.returncode == 1
    (tmp_path / "train.py").write_bytes((best / "train.py").read_bytes())
    done = subprocess.run(
        [python, "-I", "train.py", "--data", str(sources.SHIPPED)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    recorded = read_bundle(best)
    assert [float(line[4]) for line in words] == recorded.valid_accuracies
    assert [float(line[7]) for line in words] == recorded.valid_losses
