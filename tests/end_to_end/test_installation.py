"""What pip installs, and where it must run."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import COMMAND, succeed

ROOT = Path(__file__).parent.parent.parent


def test_the_wheel_holds_mnist_its_licence_and_the_spaces_and_runs_anywhere(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "experiments"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
        content.extractall(tmp_path / "site")
    assert {"tune_app/task/images/mnist.parquet", "tune_app/task/images/MNIST-LICENSE"} <= names
    assert {"tune_app/task/loop/again.py", "tune_app/search_spaces/digits.py"} <= names
    assert {"tune_app/search_spaces/tutorial.yaml", "tune_app/search_spaces/space.schema.json"} <= names
    shutil.rmtree(source)
    program = (
        "import tune_app, sys; from tune_app.task.images import sources; from tune_app import load_space;"
        "assert tune_app.__file__.startswith(sys.argv[1]), tune_app.__file__;"
        "print(sources.load().train.x.shape, load_space('digits').task.name)"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd="/", env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(50000, 784) digits\n"


SMALL = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec env HOME=/proc/self "$@"'
CONTAINERS = {
    "64 MB of shared memory and a home that cannot be written": ["unshare", "--mount", "sh", "-c", SMALL, "small"],
    "no home and no entry in passwd": ["unshare", "--user", "--map-user=54321", "env", "-u", "HOME"],
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_nobody_needs_a_home_to_search_in_nor_an_entry_in_passwd_nor_much_shared_memory(
    tmp_path: Path, container: str
) -> None:
    inside = ["env", "-u", "RAY_AUTH_MODE", *CONTAINERS[container]]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a namespace")
    (tmp_path / "space.yaml").write_text("space: {level: linear}\nsearch: {num_samples: 2, max_epochs: 1}")
    done = succeed(tmp_path, "search", "space.yaml", "--name", "x", command=[*inside, *COMMAND])
    assert "2 completed" in done.stdout
    assert "it asks for the token in " in done.stderr
