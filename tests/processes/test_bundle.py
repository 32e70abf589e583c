"""An exported CNN on all of MNIST, and its train.py where nothing of tune_app is installed."""

import json
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from tests.bundles import make_bundle
from tests.end_to_end.conftest import tune_app
from tune_app.bundle.manifest import read_bundle
from tune_app.task.images import sources
from tune_app.task.tutorial import tutorial

NEEDED = ("torch", "numpy", "safetensors", "pyarrow", "annotated-types")


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's CNN, one epoch of MNIST with a result each half."""
    return make_bundle(tmp_path_factory.mktemp("mnist"), tutorial().complete({"level": "cnn"}), None, 1, 2)


def test_the_exported_weights_tell_the_validation_images_as_well_as_exported(best: Path) -> None:
    valid = sources.load().valid
    np.save(best.parent / "valid.npy", valid.x)
    done = tune_app(best.parent, "predict", "best", "valid.npy", "--json")
    assert done.returncode == 0, done.stderr
    found = [image["class"] for image in json.loads(done.stdout)]
    hits = int((np.array(found) == valid.y).sum())
    assert hits / len(valid.y) == read_bundle(best).metrics["valid_accuracy"]


def with_what_they_need(*packages: str) -> dict[str, Distribution]:
    """These installed packages and all that they require, and so on."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(package) for package in packages]
    while waiting:
        one = waiting.pop()
        if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found[one.name] = distribution(one.name)
            waiting += [Requirement(line) for line in found[one.name].requires or ()]
    return found


def test_train_py_needs_five_packages_and_no_tune_app_but_what_is_beside_it(best: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "venv"], cwd=tmp_path, check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    here = Path(sysconfig.get_path("purelib"))
    site = tmp_path / "venv" / "lib" / here.parent.name / "site-packages"
    needed = with_what_they_need(*NEEDED)
    assert not {"ray", "optuna", "pandas"} & set(needed)
    for name in {file.parts[0] for one in needed.values() for file in one.files or ()} - {".."}:
        (site / name).symlink_to(here / name)
    unknown = subprocess.run([python, "-Ic", "import tune_app"], cwd=tmp_path, capture_output=True, check=False)
    assert unknown.returncode == 1
    shutil.copytree(best, tmp_path / "best")
    done = tune_app(tmp_path / "best", command=[python, "-s", "train.py", "--data", str(sources.SHIPPED)])
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    recorded = read_bundle(best)
    assert [float(line[4]) for line in words] == recorded.results["valid_accuracy"]
    assert [float(line[7]) for line in words] == recorded.results["valid_loss"]
