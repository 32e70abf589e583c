"""Public scripts written anew as tasks: killed after each result, every one goes on exactly."""

import re
from functools import partial
from pathlib import Path

import pytest

from tests.interrupted import goes_on_exactly
from tune_app.task.declaration import read_task
from tune_app.task.execution import functions
from tune_app.task.loop.build import build

TASKS = Path(__file__).parent
ROOT = TASKS.parents[1]
PORTS = sorted(path.stem for path in TASKS.glob("*.py") if path.stem[:5] not in ("__ini", "test_"))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", PORTS)
def test_a_port_goes_on_exactly_from_every_result(name, tmp_path):
    task = read_task(TASKS / f"{name}.py")
    with functions(task) as its:
        (level,) = its.levels.values()
        lesson = partial(build, level, its.loads["load"](tmp_path), {}, epochs=2, seed=7)
        full = goes_on_exactly(lesson, its.metrics, per=3 if name != "files" else 2)
    assert full[-1][0].valid["valid_loss"] < full[0][0].valid["valid_loss"]
    assert list(full[0][0].valid) == list(task.metrics)


def test_the_docs_say_how_many_lines_of_code_each_has():
    docs = (ROOT / "docs/tasks.md").read_text()
    rows = re.findall(r"^\| (\w+): [^|]+\| (\d+) \|", docs, re.M)
    assert {name: int(n) for name, n in rows} == {name: lines_of_code(TASKS / f"{name}.py") for name in PORTS}
    beside = re.findall(r"^\| (\w+)[^|:]* \| (\d+) \| (\d+) \|$", docs, re.M)
    tasks = {"mnist_cnn": TASKS / "mnist_cnn.py", "diabetes": ROOT / "search_spaces/diabetes.py"}
    assert {name: (int(own), int(other)) for name, own, other in beside} == {
        name: (lines_of_code(path), lines_of_code(TASKS / f"beside/{name}_ray_tune.py"))
        for name, path in tasks.items()
    }


def lines_of_code(path: Path) -> int:
    """Without blank ones, comments and docstrings."""
    no_code = re.compile(r'\s*($|#|"""[^"]*"""$)')
    return sum(not no_code.match(line) for line in path.read_text().splitlines())
