"""The tasks in search_spaces/ do what docs/tasks.md says of them: from a script to a verified bundle."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.bundles import run
from tests.end_to_end.conftest import tune_app
from tune_app.task.declaration import read_task

FOLDER = Path(__file__).parents[2] / "search_spaces"
EXAMPLES = sorted(FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A search in this process sets torch's thread count."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_script_that_can_be_checked_searched_exported_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for path in (example, example.with_suffix(".yaml")):
        shutil.copy(path, path.name)
    name = example.stem
    one_thread = ["env", "OMP_NUM_THREADS=1", sys.executable]  # many are slow where others compute, too
    script = tune_app(tmp_path, f"{name}.py", command=one_thread)
    assert script.returncode == 0, script.stderr
    lines = script.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {n + 1}" for n in range(len(lines))]
    assert len(lines) > 1
    checked = run("check", f"{name}.py")
    assert (checked.exit_code, checked.stderr) == (0, "")
    good = [line.partition(":")[0] for line in checked.stdout.splitlines() if ": goes on exactly; " in line]
    assert good == list(read_task(example).levels)
    budget = ("--num-samples", 2, "--max-epochs", 1)
    searched = run("search", f"{name}.yaml", "--name", "x", "--in-process", "--quiet", *budget)
    assert searched.exit_code == 0, searched.output
    assert run("export", "x", "-o", "best").exit_code == 0
    verified = run("verify", "best")
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.stdout.splitlines()[-1].startswith("The same valid ")


def test_each_example_has_a_space_and_is_short() -> None:
    assert [path.stem for path in EXAMPLES] == ["characters", "diabetes", "digits"]
    for path in EXAMPLES:
        assert f"task: {path.name}\n" in path.with_suffix(".yaml").read_text()
        assert len(path.read_text().splitlines()) < 60, path
