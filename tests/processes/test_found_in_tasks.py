"""What was found wrong with tasks of one's own: each once, as its user would meet it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from safetensors.torch import load_file

from tune_app.task.loop.data import as_arrays, as_tensors, digest

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset
from tune_app.task import Lesson, Maximize, get_data
"""
DATA = """
def load(source=None):
    x = torch.linspace(-1, 1, 64)[:, None]
    return {"train": (x, x.sin()), "valid": (x[::4], x[::4].sin())}
"""
LINE = """
def line(data, *, lr: float = 0.01, bs: int = 16) -> Lesson:
    model = nn.Linear(1, 1)
    opt = torch.optim.SGD(model.parameters(), lr)
    train_ds, valid_ds = (TensorDataset(*data[part]) for part in ("train", "valid"))
    return Lesson(model, F.mse_loss, opt, *get_data(train_ds, valid_ds, bs))
"""
SEARCH = "search: {num_samples: 2, max_epochs: 2, results_per_epoch: 1}"


def search(run: Callable[..., Result], task: str, space: str = "{lr: {uniform: [0.01, 0.1]}}") -> Result:
    """Search a task as "x"."""
    Path("space.yaml").write_text(f"task: {task}\nspace: {space}\n{SEARCH}")
    done = run("search", "space.yaml", "--name", "x", "--in-process", "--quiet")
    assert done.exit_code == 0, done.output
    return done


def test_a_folder_with_a_file_of_its_own_name_is_exported_whole_and_verified_whatever_it_prints(run) -> None:
    prints = "    print('{not json', flush=True)\n    model"
    Path("two").mkdir()
    Path("two/two.py").write_text(HEAD + DATA + LINE.replace("    model", prints))
    Path("two/other.py").write_text(HEAD + LINE.replace("line", "curve").replace("    model", prints))
    search(run, "two", "{level: {choice: [line, curve]}}")
    assert run("export", "x", "-o", "best").exit_code == 0
    assert {path.name for path in Path("best/task").iterdir()} == {"two.py", "other.py"}
    done = run("verify", "best")
    assert done.stdout.endswith("The same valid losses as in the search.\n"), done.output
    assert json.loads(run("train", "x", "--trial", 0, "--json").stdout)["same"], "what it prints is no result"


def test_a_helper_of_the_same_name_as_another_files_level_does_not_take_its_place(run) -> None:
    Path("two").mkdir()
    Path("two/a.py").write_text(HEAD + DATA + LINE + "\ndef curve(n):\n    return n\n")
    Path("two/b.py").write_text(HEAD + LINE.replace("line", "curve"))
    assert ", 0 failed" in search(run, "two", "{level: curve}").stdout


def test_a_mistake_in_load_test_ends_a_confirmation_without_a_test(run) -> None:
    Path("mine.py").write_text(HEAD + DATA + LINE + "\ndef load_test(source=None):\n    raise KeyError('labels')\n")
    search(run, "mine.py")
    done = run("confirm", "x", "--seeds", 2, "--in-process", "--quiet")
    assert done.exit_code == 0, done.output
    line = len((HEAD + DATA + LINE).splitlines()) + 3
    assert f"Nothing is known of the test data: mine.py, line {line}: KeyError: 'labels'\n" in done.stdout
    assert run("export", "x").exit_code == 0


TIED = """
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 1), nn.Linear(1, 1)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x))
"""


def test_tied_weights_are_exported_by_each_name_also_by_the_script(run) -> None:
    Path("mine.py").write_text(HEAD + TIED + DATA + LINE.replace("nn.Linear(1, 1)", "Tied()"))
    search(run, "mine.py")
    run("export", "x", "-o", "best")
    assert set(load_file("best/weights.safetensors")) == {"a.weight", "a.bias", "b.weight", "b.bias"}


def test_a_file_of_a_task_is_no_space(run) -> None:
    Path("mine.py").write_text(HEAD + DATA + LINE)
    done = run("validate", "mine.py")
    assert done.stderr == "Error: mine.py: is a task, allowed: a space file that says task: mine.py\n"


@pytest.mark.parametrize(
    "array", [np.arange(6.0)[::-1], np.arange(6, dtype=">i4").reshape(2, 3).T, np.float32(1), np.zeros((0, 3))]
)
def test_every_array_of_numbers_becomes_a_tensor(array: np.ndarray) -> None:
    made = as_tensors(as_arrays({"x": array}))["x"]
    assert np.array_equal(np.asarray(made), array)


def test_data_of_another_place_shape_or_kind_have_another_digest() -> None:
    a, b = np.zeros(4, np.int32), np.arange(4)
    nests = [{"train": a, "valid": b}, {"train": b, "valid": a}, {"valid": b, "train": a}]
    nests += [{"train": a.reshape(2, 2), "valid": b}, {"train": np.zeros(2, np.int64), "valid": b}]
    assert len({digest(nest) for nest in nests}) == len(nests)
    with pytest.raises(TypeError, match=r"^data\['x'\] is an array of float128, allowed: of numbers up to 64 bits"):
        digest({"x": np.zeros(3, np.longdouble)})
