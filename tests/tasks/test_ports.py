"""Public scripts written anew as tasks: killed after each result, every one goes on exactly."""

import inspect
import re
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.interrupted import Metrics, goes_on_exactly
from tune_app.task import Lesson, Maximize, Minimize

TASKS = Path(__file__).parent
ROOT = TASKS.parents[1]
PORTS = sorted(path.stem for path in TASKS.glob("*.py") if path.stem[:5] not in ("__ini", "test_"))
FACTS = {"epochs": 2, "device": "cpu", "seed": 7}

pytestmark = pytest.mark.usefixtures("one_thread")


def level(task: ModuleType) -> partial[Lesson]:
    """The level of a file, told the facts that it asks for."""
    (found,) = (f for f in vars(task).values() if annotation(f) is Lesson)
    return partial(found, **{name: FACTS[name] for name in FACTS.keys() & inspect.signature(found).parameters})


def metrics(task: ModuleType) -> Metrics:
    return {f"valid_{name}": f for name, f in vars(task).items() if annotation(f) in (Maximize, Minimize)}


def annotation(thing: object) -> object:
    return getattr(thing, "__annotations__", {}).get("return") if inspect.isfunction(thing) else None


@pytest.mark.parametrize("name", PORTS)
def test_a_port_goes_on_exactly_from_every_result(name, tmp_path):
    task = import_module(f"tests.tasks.{name}")
    data = task.load(tmp_path)
    full = goes_on_exactly(partial(level(task), data), metrics(task), per=3 if name != "files" else 2)
    assert full[-1][0].valid["valid_loss"] < full[0][0].valid["valid_loss"]
    assert list(full[0][0].valid) == [*metrics(task), "valid_loss"]


@pytest.mark.parametrize("optimizer", ["SGD", "RMSprop", "AdamW"])
@pytest.mark.parametrize("layers", [1, 3])
def test_what_a_config_says_reaches_the_lesson(optimizer, layers):
    task = import_module("tests.tasks.layers")
    lesson = task.mlp(task.load(), optimizer=optimizer, layers=layers)
    assert type(lesson.opt).__name__ == optimizer
    assert len(lesson.model) == 3 * layers + 1


def test_a_port_is_short():
    lines = {name: len(Path(__file__).with_name(f"{name}.py").read_text().splitlines()) for name in PORTS}
    assert len(lines) == 8
    assert max(lines.values()) < 60


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
