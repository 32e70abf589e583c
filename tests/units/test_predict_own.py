"""tune-app predict with a task of one's own: its function reads an input, and the model's output is printed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file

from tests.own_task import write

READ = (
    "def accuracy",
    """def read_input(path):
    print("reads", path)
    return np.loadtxt(path, dtype="float32", ndmin=2)


def accuracy""",
)
LINE = ("level: net", "level: line")
ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 2]], np.float32)


@pytest.fixture
def bundle(run: Callable[..., Result], tmp_path: Path) -> Callable[..., Path]:
    """Searches the task, with changes, and exports it; a file with two inputs and one with the second lie there."""
    np.savetxt(tmp_path / "two.txt", ROWS)
    np.savetxt(tmp_path / "one.txt", ROWS[1:])

    def made(*changes: tuple[str, str], name: str = "best") -> Path:
        write(tmp_path, *changes)
        space = tmp_path / "space.yaml"
        space.write_text(space.read_text().replace(*LINE))
        assert run("search", space, "--name", name, "--in-process").exit_code == 0
        assert run("export", name, "-o", name).exit_code == 0
        return tmp_path / name

    return made


def refusal(done: Result) -> str:
    assert (done.exit_code, done.stdout) == (1, "")
    return done.stderr.splitlines()[-1].removeprefix("Error: ")


def test_the_output_of_the_exported_weights_comes_for_each_item_of_each_file(run, bundle):
    best = bundle(READ)
    done = run("predict", "best", "two.txt", "one.txt", "--json")
    weights = load_file(best / "weights.safetensors")
    expected = torch.from_numpy(ROWS) @ weights["weight"].T + weights["bias"]
    found = json.loads(done.stdout)
    assert [one["input"] for one in found] == ["two.txt[0]", "two.txt[1]", "one.txt"]
    assert torch.allclose(torch.tensor([one["output"] for one in found]), expected[[0, 1, 1]])
    assert done.stderr == "reads two.txt\nreads one.txt\n", "what the task prints is no output"
    printed = run("predict", "best", "one.txt").stdout
    assert printed == f"one.txt: {[float(f'{number:.4g}') for number in found[2]['output']]}\n"
    assert "tune-app predict . FILE" in (best / "README.md").read_text()


def test_an_output_may_be_a_nest_and_is_the_same_each_time_also_where_the_model_draws(run, bundle):
    drawn = """class Drawn(nn.Linear):
    def forward(self, xb):
        return {"score": super().forward(xb) + torch.rand(len(xb), 1), "sum": xb.sum(1)}


def line"""
    bundle(
        READ,
        ("def line", drawn),
        (
            "    model = nn.Linear(4, 2)\n    return Lesson(model, F.cross_entropy",
            "    model = Drawn(4, 2)\n    return Lesson(model, lambda out, yb: F.cross_entropy(out['score'], yb)",
        ),
        ("out.argmax", "out['score'].argmax"),
    )
    first, second = (run("predict", "best", "two.txt", "--json").stdout for _ in range(2))
    assert first == second
    output = json.loads(first)[0]["output"]
    assert (len(output["score"]), output["sum"]) == (2, 10)


def test_a_task_without_the_function_says_what_to_write(run, bundle):
    bundle()
    assert refusal(run("predict", "best", "one.txt")) == (
        "best/task/mine.py: no function reads an input, allowed: def read_input(path) that returns a batch of"
        " inputs, there before the search"
    )


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("1 / 0", "mine.py, line 23: ZeroDivisionError: division by zero"),
        ("path", "one.txt: read_input gave a str, allowed: a batch, an array (n, ...) or a nest"),
        ("np.zeros(4, 'float32')", "one.txt: the model gave the shape (2,) for 4 items, allowed: (4, ...), one"),
        ("np.zeros((1, 5), 'float32')", "one.txt: mine: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
    ],
    ids=["fails", "no batch", "one item alone", "another width"],
)
def test_a_function_that_fails_or_gives_what_the_model_cannot_take_is_one_line(run, bundle, returned, said):
    bundle(READ, ('np.loadtxt(path, dtype="float32", ndmin=2)', returned))
    assert refusal(run("predict", "best", "one.txt")).startswith(said)


def test_a_model_is_built_from_the_data_of_the_search_alone(run, bundle, tmp_path):
    bundle(READ, ("normal(size=(300, 4))", "normal(float(source or 0), size=(300, 4))"))
    assert run("predict", "best", "one.txt", "--data", "0").exit_code == 0
    assert refusal(run("predict", "best", "one.txt", "--data", "1")).startswith(
        "1: not the data of the search: their"
    )
