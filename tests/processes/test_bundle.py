"""The train.py of a bundle where nothing of tune_app is installed."""

import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.end_to_end.conftest import succeed
from tune_app.bundle.manifest import read_bundle

NEEDED = ("torch", "numpy", "safetensors", "pyarrow", "annotated-types")


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


def test_train_py_needs_five_packages_and_no_tune_app_but_what_is_beside_it(made, tmp_path, small_data) -> None:
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
    shutil.copytree(made, tmp_path / "best")
    done = succeed(tmp_path / "best", command=[python, "-s", "train.py", "--data", str(small_data)])
    words = [line.split() for line in done.stdout.splitlines()]
    recorded = read_bundle(made)
    assert [float(line[4]) for line in words] == recorded.results["valid_accuracy"]
    assert [float(line[7]) for line in words] == recorded.results["valid_loss"]
