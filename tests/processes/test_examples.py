"""The tasks in search_spaces/ do what docs/tasks.md says of them; what it shows of digits.py, test_docs.py runs."""

import runpy
import shutil
from pathlib import Path

import pytest

from tests.bundles import run
from tune_app.task.declaration import read_task

FOLDER = Path(__file__).parents[2] / "search_spaces"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", sorted({path.stem for path in FOLDER.glob("*.py")} - {"digits"}))
def test_an_example_is_a_script_and_goes_on_exactly_with_its_space(tmp_path, monkeypatch, capsys, name) -> None:
    example = FOLDER / f"{name}.py"
    assert len(example.read_text().splitlines()) < 60
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for path in (example, example.with_suffix(".yaml")):
        shutil.copy(path, path.name)
    runpy.run_path(example.name, run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {n + 1}" for n in range(len(lines))]
    assert len(lines) > 1
    checked = run("check", f"{name}.yaml")
    assert (checked.exit_code, checked.stderr) == (0, "")
    good = [line.partition(":")[0] for line in checked.stdout.splitlines() if ": goes on exactly; " in line]
    assert good == list(read_task(example).levels)
