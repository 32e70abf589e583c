"""A task is read from the text of its files, and nothing of it is executed."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_app.errors import TuneAppError
from tune_app.task.declaration import read_task
from tune_app.task.task import Hyperparameter, Interval, Level, Task

HEAD = """\
from typing import Annotated, Literal
from annotated_types import Ge, Gt, Interval, Le, Lt
from tune_app.task import Lesson, Maximize, Minimize
"""
LINE = HEAD.count("\n") + 1
DIGITS = '''\
"""Handwritten digits, 8x8."""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Maximize, fit, get_data


def load(source=None):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return {"train": (x[:1000], y[:1000]), "valid": (x[1000:], y[1000:])}


def accuracy(out, yb) -> Annotated[Maximize, Interval(ge=0, le=1)]:
    return out.argmax(1) == yb


def mlp(data, *, epochs: int, lr: float = 0.01, bs: int = 64, hidden: int = 128, dropout: float = 0.2) -> Lesson:
    """One hidden layer.

    With batch normalisation.
    """
    train_dl, valid_dl = get_data(TensorDataset(*data["train"]), TensorDataset(*data["valid"]), bs)
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 10))
    opt = torch.optim.AdamW(model.parameters(), lr)
    return Lesson(model, nn.functional.cross_entropy, opt, train_dl, valid_dl)


if __name__ == "__main__":
    fit(mlp(load(), epochs=3), epochs=3)
'''
HOUSES = """\
import tune_app.task as t

Share = t.Annotated if False else float  # nothing that an annotation can use


class Houses:
    def prices(self) -> list[float]: return []

def load(): return Houses()
def load_test(): return Houses()
def absolute_error(out, yb) -> t.Minimize: return (out - yb).abs()
def r2(out, yb) -> "t.Maximize": return 1 - ((out - yb) ** 2).sum() / ((yb - yb.mean()) ** 2).sum()
def net_of(data, width): return data

def straight(data, *, lr=1, bs=32, l2=0.0) -> t.Lesson: "A straight line."
def curved(data, *, lr=1e-2, bs=32, width=16, act="relu", norm=True) -> t.Lesson: ...
BASELINE = "curved"
"""
TEXTS = """\
from __future__ import annotations

import typing

import annotated_types as at
from tune_app import task
from tune_app.task.lesson import Lesson as L

Act: typing.TypeAlias = typing.Literal["relu", "gelu"]
Share = typing.Annotated[float, at.Ge(0), at.Lt(1), "a share"]

def wordwise(data, /, *, device, seed: int, lr: float = 3, act: Act = "relu", drop: Share = 0.0) -> L:
    '''
    Word by word.
    '''
def letterwise(data, *, drop: typing.Annotated["Share", "as before"] = 0.5, shift: int = -3) -> task.Lesson: ...
"""


def task_of(folder: Path, text: str, name: str = "mine.py") -> Task:
    """The task in one file, whose first lines import what annotations need."""
    (folder / name).write_text(HEAD + dedent(text))
    return read_task(folder / name, name)


def folder_of(folder: Path, **texts: str) -> Path:
    """A folder called `parts` with these files."""
    for name, text in texts.items():
        path = folder / "parts" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "parts"


def read_error(path: Path, shown: str | None = None) -> str:
    """The one line that reading a task ends with."""
    with pytest.raises(TuneAppError) as raised:
        read_task(path, shown or path.name)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def level(arguments: str, name: str = "mlp") -> str:
    return f"def {name}({arguments}) -> Lesson: ...\n"


# ---- three tasks, as newcomers would write them --------------------------------------------------------------


def test_a_task_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "digits.py").write_text(DIGITS)
    task = read_task(tmp_path / "digits.py")
    defaults = {"lr": 0.01, "bs": 64, "hidden": 128, "dropout": 0.2}
    mlp = Level(name="mlp", summary="One hidden layer.", family="digits", defaults=defaults, facts=("epochs",))
    assert (task.name, task.levels, task.baseline, task.loads) == ("digits", {"mlp": mlp}, "mlp", ("load",))
    assert {name: h.allowed for name, h in task.hyperparameters.items()} == {
        "lr": "a number, greater than 0",
        "bs": "an integer, 1 or more",
        "hidden": "an integer",
        "dropout": "a number",
    }
    assert [(m.name, m.mode, str(m.interval)) for m in task.metrics.values()] == [
        ("valid_accuracy", "max", "0 or more, at most 1"),
        ("valid_loss", "min", ""),
    ]
    assert task.files == {"digits.py": DIGITS}


def test_a_task_without_annotations_of_values(tmp_path: Path) -> None:
    (tmp_path / "houses.py").write_text(HOUSES)
    task = read_task(tmp_path / "houses.py")
    assert task.levels["straight"].defaults == {"lr": 1.0, "bs": 32, "l2": 0.0}
    assert task.levels["straight"].summary == "A straight line."
    assert {name: h.kind for name, h in task.hyperparameters.items()} == {
        "lr": "float",
        "bs": "int",
        "l2": "float",
        "width": "int",
        "act": "str",
        "norm": "bool",
    }
    assert [(m.name, m.mode) for m in task.metrics.values()] == [
        ("valid_absolute_error", "min"),
        ("valid_r2", "max"),
        ("valid_loss", "min"),
    ]
    assert (task.baseline, task.loads, task.metric.name) == (
        "curved",
        ("load", "load_test"),
        "valid_absolute_error",
    )


def test_a_task_with_every_kind_of_alias(tmp_path: Path) -> None:
    (tmp_path / "texts.py").write_text(TEXTS)
    task = read_task(tmp_path / "texts.py")
    assert task.levels["wordwise"].facts == ("device", "seed")
    assert task.levels["wordwise"].summary == "Word by word."
    assert task.levels["wordwise"].defaults == {"lr": 3.0, "act": "relu", "drop": 0.0}
    assert task.levels["letterwise"].defaults == {"drop": 0.5, "shift": -3}
    share = Hyperparameter(name="drop", kind="float", interval=Interval(ge=0, lt=1), meaning="a share")
    assert task.hyperparameters["drop"] == share
    assert task.hyperparameters["act"].options == ("relu", "gelu")
    assert list(task.metrics) == ["valid_loss"]


# ---- what is read --------------------------------------------------------------------------------------------


def test_nothing_of_a_task_is_executed_and_torch_is_not_loaded(tmp_path: Path) -> None:
    trap = 'open("RAN", "w")\nraise SystemExit\n'
    beside = "import other, package.inner\n"
    (tmp_path / "mine.py").write_text(trap + beside + HEAD + level(f"data, *, lr={0.1}") + trap)
    (tmp_path / "other.py").write_text(trap)
    (tmp_path / "package").mkdir()
    for name in ("__init__", "inner"):
        (tmp_path / "package" / f"{name}.py").write_text(trap)
    read = "import sys; from pathlib import Path; from tune_app.task.declaration import read_task"
    loaded = "print([m for m in ('torch', 'ray', 'other', 'package', 'mine') if m in sys.modules])"
    program = f"{read}; print(sorted(read_task(Path('mine.py')).files)); {loaded}"
    command = [sys.executable, "-c", program]
    here = os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": here}, capture_output=True, text=True, check=True
    )
    files = ["mine.py", "other.py", "package/__init__.py", "package/inner.py"]
    assert done.stdout == f"{files}\n[]\n"
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    ("annotated", "allowed"),
    [
        ("x: float = 1", "a number"),
        ("x: Annotated[float, Interval(ge=0, lt=1)] = 0", "a number, 0 or more, below 1"),
        ("x: Annotated[float, Gt(-1), Le(1)] = 1", "a number, greater than -1, at most 1"),
        (
            "x: Annotated[float, Gt(gt=0), Ge(0), Ge(-5), Interval(le=2), Lt(2), Lt(3)] = 1",
            "a number, greater than 0, below 2",
        ),
        ("x: Annotated[Annotated[int, Ge(1)], 'deep', Le(9)] = 2", "an integer, 1 or more, at most 9"),
        ("x: 'Annotated[int, Ge(1)]' = 1", "an integer, 1 or more"),
        ("x: Annotated[str, 'a word'] = 'a b'", "text"),
        ("x: Literal['a', \"b\", 'a'] = 'b'", "a, b"),
        ("x: Literal['a'] = 'a'", "a"),
        ("x: bool = False", "true or false"),
        ("x=True", "true or false"),
        ("x=-1", "an integer"),
        ("x=+1.5", "a number"),
        ("x='a'", "text"),
        ("lr=1", "a number, greater than 0"),
        ("lr: Annotated[float, 'learning rate'] = 1", "a number, greater than 0"),
        ("lr: Annotated[float, Ge(0)] = 0", "a number, 0 or more"),
        ("bs: Annotated[int, Ge(8)] = 8", "an integer, 8 or more"),
    ],
)
def test_an_annotation_or_a_default_says_what_is_allowed(tmp_path: Path, annotated: str, allowed: str) -> None:
    (h,) = task_of(tmp_path, level(f"data, *, {annotated}")).hyperparameters.values()
    assert h.allowed == allowed


def test_a_default_has_the_kind_of_its_hyperparameter(tmp_path: Path) -> None:
    task = task_of(tmp_path, level("data, *, a: float = 1, b=1, c: bool = True, d: float = -0x10, e=1_000"))
    assert repr(task.levels["mlp"].defaults) == "{'a': 1.0, 'b': 1, 'c': True, 'd': -16.0, 'e': 1000}"


@pytest.mark.parametrize(
    ("imports", "returns", "is_level"),
    [
        ("from tune_app.task import Lesson as L", "L", True),
        ("from tune_app.task.lesson import Lesson as L", "'L'", True),
        ("from tune_app.task import *", "Lesson", True),
        ("import tune_app.task as t", "t.Lesson", True),
        ("import tune_app.task", "tune_app.task.Lesson", True),
        ("from tune_app import task as t", "t.lesson.Lesson", True),
        ("import tune_app as a", "' a.task.Lesson'", True),
        ("from tune_app.task import Lesson\nL = Lesson\nM = L", "M", True),
        ("from typing import Annotated\nfrom tune_app.task import Lesson", "Annotated[Lesson, 'so']", True),
        ("if TYPE_CHECKING:\n    from tune_app.task import Lesson", "Lesson", True),
        ("try:\n    from tune_app.task import Lesson\nexcept ImportError:\n    pass", "Lesson", True),
        ("class Lesson: ...", "Lesson", False),
        ("from tune_app.task import Lesson\nclass Lesson: ...", "Lesson", False),
        ("from school import Lesson", "Lesson", False),
        ("from tune_app.task import Lesson", "Lesson | None", False),
        ("from tune_app.task import Lesson", "tuple[Lesson, int]", False),
        ("from tune_app.task import Lesson", "'Lesson['", False),
        ("A = B\nB = A", "A", False),
        ("from typing import Annotated\nA = Annotated[A, 'me']", "A", False),
        ("from typing import Annotated\nA = Annotated['A', 'me']", "A", False),
        ("from mine import A", "A", False),
        ("from mine import *\nfrom .mine import *", "A", False),
        ("import a.b as c", "c.d[0].e", False),
        ("", "Lesson", False),
    ],
)
def test_a_level_is_what_returns_the_lesson_of_tune_app(
    tmp_path: Path, imports: str, returns: str, is_level: bool
) -> None:
    task = task_of(tmp_path, level("data", "first"))
    (tmp_path / "mine.py").write_text(f"{imports}\ndef other(data) -> {returns}: ...\n")
    if is_level:
        assert list(read_task(tmp_path / "mine.py").levels) == ["other"]
    else:
        assert read_error(tmp_path / "mine.py").startswith(
            f"mine.py: {NO_LEVEL} (from tune_app.task import Lesson)"
        )
    assert list(task.levels) == ["first"]


@pytest.mark.parametrize(
    "imports",
    [
        "from logistic import Momentum",
        "from .logistic import Momentum",
        "from parts.logistic import Momentum as Momentum",
        "from tune_app.task.tutorial.logistic import Momentum",
        "from logistic import *",
        "import logistic\nMomentum = logistic.Momentum",
        "from . import logistic as l\nMomentum = l.Momentum",
        "from parts import Momentum",
        "from . import Momentum",
        "from .deep.down import Momentum",
        "from deep import Momentum",
    ],
)
def test_an_alias_leads_through_the_files_of_a_task(tmp_path: Path, imports: str) -> None:
    folder = folder_of(
        tmp_path,
        __init__="from .logistic import Momentum\n",
        logistic=HEAD + "Momentum = Annotated[float, Interval(ge=0, lt=1)]\n" + level("data", "linear"),
        cnn=f"from logistic import Lesson\n{imports}\n" + level("data, *, momentum: Momentum = 0.9", "cnn"),
        **{"deep/__init__": "from ..logistic import Momentum\n", "deep/down": "from . import Momentum\n"},
    )
    (h,) = read_task(folder).hyperparameters.values()
    assert h.interval == Interval(ge=0, lt=1)


def test_the_files_of_a_folder_are_families_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        b=HEAD + "def accuracy(out, yb) -> Maximize: ...\n" + level("data", "two") + level("data", "one"),
        a=HEAD + "def error(out, yb) -> Minimize: ...\n" + level("data", "three"),
        _shared=HEAD + "def load(source): ...\n" + level("data", "hidden"),
        **{"inner/c": HEAD + level("data", "deep")},
    )
    task = read_task(folder)
    assert {name: one.family for name, one in task.levels.items()} == {"three": "a", "two": "b", "one": "b"}
    assert (task.name, task.baseline, task.families) == ("parts", "three", ["a", "b"])
    assert list(task.metrics) == ["valid_error", "valid_accuracy", "valid_loss"]
    assert list(task.files) == ["_shared.py", "a.py", "b.py", "inner/c.py"]


def test_an_init_states_the_order_of_the_families(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        __init__='FAMILIES = ["logistic", "cnn"]\nBASELINE: str = "wide"\n',
        logistic=HEAD + level("data", "linear") + "def accuracy(out, yb) -> Maximize: ...\n",
        cnn=HEAD + level("data", "wide") + "def error(out, yb) -> Minimize: ...\n",
        metrics=HEAD + "def other(out, yb) -> Minimize: ...\n",
    )
    task = read_task(folder)
    assert (list(task.levels), task.baseline) == (["linear", "wide"], "wide")
    assert list(task.metrics) == ["valid_accuracy", "valid_error", "valid_other", "valid_loss"]


def test_a_file_brings_along_what_it_imports_from_beside_it(tmp_path: Path) -> None:
    texts = {
        "model.py": "import numpy, far.away\ndef net(): import later\n" + HEAD + level("data", "other"),
        "later.py": "import model\n",
        "package/__init__.py": "from .inner import x\nfrom . import unused\n",
        "package/inner/deep.py": "import aside",
        "aside.py": "\N{BYTE ORDER MARK}\r\n",
        "plain/x.py": "",
        "unused.py": "this is not Python",
        "package/.hidden.py": "this is not Python",
        "package/not-a-package/x.py": "this is not Python",
        "tune_app/__init__.py": "this is not ours",
        "torch/notes.py": "no package, so torch means the installed one",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    (tmp_path / "data").mkdir()
    task = task_of(tmp_path, "import model, data, torch\nfrom package import x\nimport plain.x\n" + level("data"))
    files = [
        "mine.py",
        "model.py",
        "later.py",
        "package/__init__.py",
        "package/inner/deep.py",
        "aside.py",
        "plain/x.py",
    ]
    assert sorted(task.files) == sorted(files)
    assert task.files["aside.py"] == "\r\n"
    assert list(task.levels) == ["mlp"]


def test_a_task_reads_the_same_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, logistic=HEAD + level("data"))
    task = read_task(folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert read_task(Path()) == task
    assert read_task(Path("../parts")) == task
    assert read_task(Path("logistic.py")).name == "logistic"
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")
    assert read_task(Path("..")).name == "parts"


# ---- what is refused -----------------------------------------------------------------------------------------

TITLE = f"mine.py, line {LINE}: level 'mlp'"
NOT_UNDERSTOOD = (
    'is not understood, allowed: bool, int, float, str, Literal["a", "b"], Annotated[float, Interval(ge=0, lt=1)]'
)
NO_NUMBER = "allowed: a number, greater than 0"
ONE = "allowed: one argument before the *, the data (a function that is no level goes without -> Lesson)"
DEFAULT = " has a default for a positional argument, allowed: defaults after a *, as in (data, *, lr=0.01)"
VERSION = f"allowed: what Python {sys.version_info.major}.{sys.version_info.minor} can read"
SAME = "allowed: the same in all levels"
NO_METRIC = "is not understood, allowed: Maximize, Minimize, Annotated[Maximize, Interval(ge=0, le=1)]"
NO_LEVEL = "no level, allowed: at least one function with -> Lesson, in a file whose name does not begin with _"
ANY = "allowed: true or false, a number or text, written out"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            "",
            f" has (), {ONE}",
        ),
        (
            "a, b",
            f" has (a, b), {ONE}",
        ),
        ("data=None", DEFAULT),
        ("data, lr=0.1", DEFAULT),
        ("data, *args", " has (data, *args), allowed: a name for each argument"),
        ("data, **options", " has (data, **options), allowed: a name for each argument"),
        (
            "data, *, hidden",
            ": hidden has no default, allowed: a default, or one of epochs, device, seed, which the run says",
        ),
        ("data, *, epochs=3", ": epochs has a default, allowed: none, since the run says it"),
        ("data, *, level=3", ": level has a default, allowed: another name"),
        ("data, *, lr=None", f": lr is None, {NO_NUMBER}"),
        ("data, *, lr=(1, 2)", f": lr is (1, 2), {NO_NUMBER}"),
        ("data, *, lr: float = 1e400", f": lr is 1e400, {NO_NUMBER}"),
        ("data, *, lr=float('nan')", f": lr is float('nan'), {NO_NUMBER}"),
        ("data, *, lr=0", f": lr is 0, {NO_NUMBER}"),
        ("data, *, lr=True", f": lr is True, {NO_NUMBER}"),
        ("data, *, lr='fast'", f": lr is 'fast', {NO_NUMBER}"),
        ("data, *, lr: int = 1", ": lr is annotated as int, allowed: float"),
        ("data, *, bs=0", ": bs is 0, allowed: an integer, 1 or more"),
        ("data, *, bs=64.0", ": bs is 64.0, allowed: an integer, 1 or more"),
        ("data, *, bs: Annotated[float, Ge(1)] = 64", ": bs is annotated as float, allowed: int"),
        ("data, *, x=None", f": x is None, {ANY}"),
        ("data, *, x=[1]", f": x is [1], {ANY}"),
        ("data, *, x=...", f": x is ..., {ANY}"),
        ("data, *, x=b'a'", f": x is b'a', {ANY}"),
        ("data, *, x=1j", f": x is 1j, {ANY}"),
        ("data, *, x=-True", f": x is -True, {ANY}"),
        ("data, *, x=--1", f": x is --1, {ANY}"),
        ("data, *, x=1 + 1", f": x is 1 + 1, {ANY}"),
        ("data, *, x=-1e400", f": x is -1e400, {ANY}"),
        ("data, *, x=f'a'", f": x is f'a', {ANY}"),
        ("data, *, x='\\ud800'", f": x is '\\ud800', {ANY}"),
        ("data, *, x=WIDTH", f": x is WIDTH, {ANY}"),
        (f"data, *, x={'9' * 400}", f": x is {'9' * 60}, {ANY}"),
        (f"data, *, x=0x{'f' * 5000}", f": x is 0x{'f' * 58}, {ANY}"),
        ("data, *, x: int = 0.5", ": x is 0.5, allowed: an integer"),
        ("data, *, x: int = True", ": x is True, allowed: an integer"),
        ("data, *, x: bool = 1", ": x is 1, allowed: true or false"),
        ("data, *, x: str = 1", ": x is 1, allowed: text"),
        ("data, *, x: float = '1'", ": x is '1', allowed: a number"),
        ("data, *, x: Literal['a', 'b'] = 'c'", ": x is 'c', allowed: a, b"),
        (
            "data, *, x: Annotated[float, Interval(ge=0, lt=1)] = 1",
            ": x is 1, allowed: a number, 0 or more, below 1",
        ),
        ("data, *, x: float | None = 1.0", f": x: float | None {NOT_UNDERSTOOD}"),
        ("data, *, x: list[int] = 1", f": x: list[int] {NOT_UNDERSTOOD}"),
        ("data, *, x: Literal[1, 2] = 1", f": x: Literal[1, 2] {NOT_UNDERSTOOD}"),
        ("data, *, x: Literal[()] = 1", f": x: Literal[()] {NOT_UNDERSTOOD}"),
        ("data, *, x: Lesson = 1", f": x: Lesson {NOT_UNDERSTOOD}"),
        ("data, *, x: Unknown = 1", f": x: Unknown {NOT_UNDERSTOOD}"),
        ("data, *, x: 'int[' = 1", f": x: 'int[' {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int] = 1", f": x: Annotated[int] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, range(3)] = 1", f": x: Annotated[int, range(3)] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, Ge('a')] = 1", f": x: Annotated[int, Ge('a')] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, Ge(True)] = 1", f": x: Annotated[int, Ge(True)] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, Ge(1e999)] = 1", f": x: Annotated[int, Ge(1e999)] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, Ge(lt=0)] = 1", f": x: Annotated[int, Ge(lt=0)] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, Interval(0)] = 1", f": x: Annotated[int, Interval(0)] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, Interval(**a)] = 1", f": x: Annotated[int, Interval(**a)] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[int, Ge(2), Lt(1)] = 1", f": x: Annotated[int, Ge(2), Lt(1)] {NOT_UNDERSTOOD}"),
        ("data, *, x: Annotated[str, Ge(2)] = 'a'", f": x: Annotated[str, Ge(2)] {NOT_UNDERSTOOD}"),
    ],
)
def test_a_level_of_the_wrong_form_is_one_line(tmp_path: Path, arguments: str, problem: str) -> None:
    with pytest.raises(TuneAppError) as raised:
        task_of(tmp_path, level(arguments))
    assert str(raised.value) == TITLE + problem


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (
            "@cache\ndef mlp(data) -> Lesson: ...",
            2,
            "level 'mlp' has a decorator, allowed: a level without decorator",
        ),
        ("async def mlp(data) -> Lesson: ...", 1, "level 'mlp' is async, allowed: def"),
        (
            "class A:\n    def mlp(self) -> Lesson: ...",
            2,
            "level 'mlp' is not at the top, allowed: a level stands at the top of its file",
        ),
        (
            "def f():\n    def mlp(data) -> Lesson: ...",
            2,
            "level 'mlp' is not at the top, allowed: a level stands at the top of its file",
        ),
        (
            "if 1:\n    def mlp(data) -> Lesson: ...",
            2,
            "level 'mlp' is not at the top, allowed: a level stands at the top of its file",
        ),
        (
            "class A:\n    def m(self, yb) -> Maximize: ...",
            2,
            "metric 'm' is not at the top, allowed: a metric stands at the top of its file",
        ),
        (
            "def load(data) -> Lesson: ...",
            1,
            "level 'load' has the name of what reads the data, allowed: another name",
        ),
        (
            "def a(data) -> Lesson: ...\ndef a(data) -> Lesson: ...",
            2,
            f"'a' stands twice, also in mine.py, line {LINE}, allowed: each name once",
        ),
        (
            "def a(data) -> Lesson: ...\nclass a: ...",
            2,
            f"'a' stands twice, also in mine.py, line {LINE}, allowed: each name once",
        ),
        (
            "def a(data, *, x=1) -> Lesson: ...\ndef b(data, *,\n    x: float = 1) -> Lesson: ...",
            3,
            f"x takes a number, and in mine.py, line {LINE}, an integer, {SAME}",
        ),
        (
            "def a(data, *, x: Literal['a', 'b'] = 'a') -> Lesson: ...\ndef b(data, *, x='a') -> Lesson: ...",
            2,
            f"x takes text, and in mine.py, line {LINE}, a, b, {SAME}",
        ),
        (
            "def a(data, *, x: Annotated[int, Ge(0)] = 1) -> Lesson: ...\ndef b(data, *, x=1) -> Lesson: ...",
            2,
            f"x takes an integer, and in mine.py, line {LINE}, an integer, 0 or more, {SAME}",
        ),
        ("def m(out) -> Maximize: ...", 1, "metric 'm' has (out), allowed: (out, yb)"),
        ("def m(out, yb, *, k) -> Maximize: ...", 1, "metric 'm' has (out, yb, *, k), allowed: (out, yb)"),
        (
            "def m(out, yb=1) -> Maximize: ...",
            1,
            "metric 'm' has (out, yb), allowed: (out, yb)",
        ),
        ("def m(*both) -> Maximize: ...", 1, "metric 'm' has (*both), allowed: (out, yb)"),
        ("async def m(out, yb) -> Maximize: ...", 1, "metric 'm' is async, allowed: def"),
        (
            "def loss(out, yb) -> Minimize: ...",
            1,
            "metric 'loss' is the name of the loss, which every task has, allowed: another name",
        ),
        (
            "def m(out, yb) -> Annotated[Maximize, 1]: ...",
            1,
            f"metric 'm': Annotated[Maximize, 1] {NO_METRIC}",
        ),
        ("async def load(): ...", 1, "'load' is async, allowed: def"),
        ("def load(a, b=1): ...", 1, "'load' has (a, b), allowed: (source=None) or ()"),
        ("def load(*, a=1): ...", 1, "'load' has (*, a), allowed: (source=None) or ()"),
        ("def load_test(): ...", 1, "'load_test' stands without load, allowed: load as well"),
        (
            "def load(): ...\ndef load(): ...",
            2,
            f"'load' stands twice, also in mine.py, line {LINE}, allowed: each name once",
        ),
        ("BASELINE = 'mlq'", 1, "BASELINE is 'mlq', did you mean 'mlp'? allowed: mlp, net"),
        ("BASELINE = mlp", 1, "BASELINE is mlp, did you mean 'mlp'? allowed: mlp, net"),
        (
            "BASELINE = 'mlp'\nBASELINE = 'net'",
            2,
            f"BASELINE stands twice, also in mine.py, line {LINE}, allowed: once",
        ),
        ("return", 1, f"'return' outside function, {VERSION}"),
        ("def a(data, *, x=1, x=2): ...", 1, f"duplicate argument 'x' in function definition, {VERSION}"),
        ("x = '\0'", 1, "a null byte, allowed: text"),
    ],
)
def test_a_file_with_a_mistake_is_one_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    both = "" if "mlp(" in text else level("data") + level("data", "net")
    with pytest.raises(TuneAppError) as raised:
        task_of(tmp_path, f"{text}\n{both}")
    assert str(raised.value) == f"mine.py, line {LINE + line - 1}: {problem}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\ndef f(:\n", f"mine.py, line 2: invalid syntax, {VERSION}"),
        (b"x = 1\nx = '\xff'\n", "mine.py, line 2: not a text in UTF-8, allowed: UTF-8"),
        ("x = 'ä'".encode("utf-16"), "mine.py, line 1: not a text in UTF-8, allowed: UTF-8"),
        (
            b"#" * 1_000_001,
            "mine.py: the task's files are larger than 1 MB, allowed: 1 MB for all of them together",
        ),
        (b"x = " + b"(" * 5000, f"mine.py, line 1: too many nested parentheses, {VERSION}"),
        (
            b"",
            f"mine.py: {NO_LEVEL} (from tune_app.task import Lesson)",
        ),
    ],
    ids=range(6),
)
def test_a_file_that_is_no_task_is_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "mine.py").write_bytes(content)
    assert read_error(tmp_path / "mine.py") == problem


@pytest.mark.parametrize("content", ["-" * 50_000 + "1", "a." * 50_000 + "a", "1" + "+1" * 50_000, "(" * 150 + "1"])
def test_what_python_cannot_read_for_its_depth_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.py").write_text(f"x = {content}")
    assert read_error(tmp_path / "mine.py").startswith("mine.py")


def test_an_alias_of_an_alias_of_a_thousand_is_not_understood(tmp_path: Path) -> None:
    aliases = "\n".join(f"A{n} = Annotated[A{n + 1}, 'deeper']" for n in range(5000))
    with pytest.raises(TuneAppError, match=r"^mine.py, line \d+: level 'mlp': x: A0 is not understood, allowed: "):
        task_of(tmp_path, f"{aliases}\nA5000 = int\n" + level("data, *, x: A0 = 1"))
    with pytest.raises(TuneAppError, match="x: A is not understood"):
        task_of(tmp_path, "A = Annotated[A, 'me']\n" + level("data, *, x: A = 1"))


def test_what_is_no_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    allowed = "allowed: a Python file (.py), or a folder with Python files"
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "my.task.py").write_text("")
    (tmp_path / "loop.py").symlink_to("loop.py")
    os.mkfifo("pipe.py")
    for typed, problem in {
        "none.py": f"no such file or folder, {allowed}",
        "n" * 999: f"cannot be read: File name too long, {allowed}",
        "a\0b.py": f"no such file or folder, {allowed}",
        "empty": f"no Python file in this folder, {allowed}",
        "a.txt": f"not a Python file, {allowed}",
        "pipe.py": f"not a Python file, {allowed}",
        "loop.py": f"no such file or folder, {allowed}",
        "my.task.py": "'my.task' cannot be imported, allowed: a name of letters, digits, _ and -",
    }.items():
        with pytest.raises(TuneAppError) as raised:
            read_task(Path(typed))
        assert str(raised.value) == f"{typed}: {problem}"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"a": HEAD + level("data"), "b": HEAD + level("data")},
            f"b.py, line {LINE}: 'mlp' stands twice, also in parts/a.py, line {LINE}, allowed: each name once",
        ),
        (
            {"a": HEAD + level("data"), "b": "def load(): ...", "c": "def load(): ..."},
            "c.py, line 1: 'load' stands twice, also in parts/b.py, line 1, allowed: each name once",
        ),
        ({"a": HEAD + level("data"), "b": "x = ("}, f"b.py, line 1: '(' was never closed, {VERSION}"),
        ({"a": HEAD + level("data"), "inner/b": "x = ("}, f"inner/b.py, line 1: '(' was never closed, {VERSION}"),
        (
            {"a": HEAD + level("data"), "random": ""},
            "random.py: random is also the name of an installed module, allowed: another name",
        ),
        (
            {"a": HEAD + level("data"), "numpy/b": ""},
            "numpy/b.py: numpy is also the name of an installed module, allowed: another name",
        ),
        (
            {"a": HEAD + level("data"), "b c": ""},
            "b c.py: 'b c' cannot be imported, allowed: a name of letters, digits, _ and -",
        ),
        (
            {"a": HEAD + level("data"), "__init__": "FAMILIES = ['b']"},
            "__init__.py, line 1: FAMILIES is ['b'], allowed: each file that has levels once, a",
        ),
        (
            {"a": HEAD + level("data"), "__init__": "FAMILIES = []"},
            "__init__.py, line 1: FAMILIES is [], allowed: each file that has levels once, a",
        ),
        (
            {"a": HEAD + level("data"), "__init__": "FAMILIES = sorted(x)"},
            "__init__.py, line 1: FAMILIES is sorted(x), allowed: each file that has levels once, a",
        ),
        (
            {"a": HEAD + level("data"), "b": "#" * 600_000, "c": "#" * 600_000},
            "c.py: the task's files are larger than 1 MB, allowed: 1 MB for all of them together",
        ),
        (
            {"a": HEAD + "from inner.b import load\n" + level("data"), "inner/b": "def load(): ..."},
            f"a.py, line {LINE}: load is imported, allowed: def load(source=None) here",
        ),
    ],
    ids=range(12),
)
def test_a_folder_with_a_mistake_is_one_line(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    assert read_error(folder_of(tmp_path, **files)) == f"parts/{problem}"


def test_a_folder_without_levels_of_its_own_is_one_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, _a=HEAD + level("data"), **{"inner/b": HEAD + level("data")})
    assert read_error(folder).startswith("parts: no level, allowed: ")


@pytest.mark.parametrize("name", ["torch", "random", "tune_app", "google"])
def test_a_task_is_not_named_like_an_installed_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text(HEAD + level("data"))
    (tmp_path / "folder" / name).mkdir(parents=True)
    (tmp_path / "folder" / name / "a.py").write_text(HEAD + level("data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    problem = f"{name} is also the name of an installed module, allowed: another name"
    assert read_error(tmp_path / f"{name}.py") == f"{name}.py: {problem}"
    assert read_error(tmp_path / "folder" / name) == f"{name}: {problem}"


def test_a_module_beside_a_task_may_not_hide_an_installed_one(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("")
    assert task_of(tmp_path, level("data")).name == "mine"
    with pytest.raises(TuneAppError) as raised:
        task_of(tmp_path, "import random\n" + level("data"))
    assert str(raised.value) == ("random.py: random is also the name of an installed module, allowed: another name")


def test_data_are_not_read_by_what_is_only_imported(tmp_path: Path) -> None:
    (tmp_path / "reading.py").write_text("def load(): ...")
    assert task_of(tmp_path, "from torch import load\n" + level("data")).files.keys() == {"mine.py"}
    with pytest.raises(TuneAppError) as raised:
        task_of(tmp_path, "from reading import read, load\n" + level("data"))
    assert str(raised.value) == f"mine.py, line {LINE}: load is imported, allowed: def load(source=None) here"


def test_no_link_leads_out_of_a_task(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, a=HEAD + level("data"))
    (tmp_path / "secret.py").write_text("")
    (tmp_path / "package").mkdir()
    (folder / "data").symlink_to(tmp_path / "package")
    (folder / "same.py").symlink_to("a_part.txt")
    (folder / "a_part.txt").write_text("x = 1")
    assert read_task(folder).files["same.py"] == "x = 1"
    (tmp_path / "package" / "b.py").write_text("")
    assert read_error(folder) == "parts/data: a link to a package, allowed: the package itself"
    (folder / "data").unlink()
    (folder / "b.py").symlink_to(tmp_path / "secret.py")
    assert read_error(folder) == "parts/b.py: a link that leads out of the folder, allowed: the file itself"
    (folder / "b.py").unlink()
    (folder / "b.py").symlink_to("b.py")
    assert read_error(folder).startswith("parts/b.py: cannot be read: Too many levels of symbolic links, allowed: ")


def test_a_file_beside_a_task_is_no_link_that_leads_away(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "model.py").write_text("")
    (here / "model.py").symlink_to("../model.py")
    (tmp_path / "mine.py").write_text("import model\n" + HEAD + level("data"))
    (here / "mine.py").symlink_to("../mine.py")
    assert read_error(here / "mine.py") == "model.py: a link that leads out of the folder, allowed: the file itself"
    (here / "model.py").unlink()
    (here / "model.py").write_text("")
    assert list(read_task(here / "mine.py").files) == ["mine.py", "model.py"]


def test_errors_say_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, a="x = (", b="import c\n" + HEAD + level("data"), c="x = (")
    monkeypatch.chdir(tmp_path)
    problem = f", line 1: '(' was never closed, {VERSION}"
    assert read_error(Path("parts"), "~/parts") == f"~/parts/a.py{problem}"
    assert read_error(folder / "b.py", "~/parts/b.py") == f"~/parts/c.py{problem}"
    monkeypatch.chdir(folder)
    assert read_error(Path(), ".") == f"a.py{problem}"


# ---- anything at all -----------------------------------------------------------------------------------------

WHOLE = HEAD + TEXTS.replace("from __future__ import annotations\n", "") + DIGITS.replace("import torch\n", "")
TOKENS = sorted(
    {*"()[]{}:*=,.-@|'\"\\\n\t\0 é", "->", "Lesson", "lambda ", "Annotated[", "async ", "None", "1e999"}
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 12), st.sampled_from(TOKENS)), max_size=6))
def test_whatever_stands_in_a_file_it_is_a_task_or_one_line(
    tmp_path: Path, changes: list[tuple[int, int, str]]
) -> None:
    text = WHOLE
    for start, removed, put in changes:
        text = text[:start] + put + text[start + removed :]
    (tmp_path / "mine.py").write_text(text)
    try:
        assert read_task(tmp_path / "mine.py", "mine.py").levels
    except TuneAppError as error:
        assert str(error).startswith("mine.py") and "allowed: " in str(error) and "\n" not in str(error)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_whatever_bytes_a_file_holds_it_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.py").write_bytes(content)
    assert "allowed: " in read_error(tmp_path / "mine.py")


def test_what_was_changed_above_is_a_task_before(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(WHOLE)
    assert list(read_task(tmp_path / "mine.py").levels) == ["wordwise", "letterwise", "mlp"]
    assert ast.parse(WHOLE)
