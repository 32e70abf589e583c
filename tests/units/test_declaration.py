"""A task is read from the text of its files, and nothing of it is executed."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import refused
from tune_app.errors import TuneAppError
from tune_app.task.declaration import read_task
from tune_app.task.task import Interval, Level, Task

HEAD = """\
from typing import Annotated, Literal
from annotated_types import Ge, Gt, Interval, Le, Lt
from tune_app.task import Lesson, Maximize, Minimize
"""
LINE = HEAD.count("\n") + 1
TEXTS = """\
import typing

import annotated_types as at
import tune_app.task as t
from tune_app.task.loop.lesson import Lesson as L

Act: typing.TypeAlias = typing.Literal["relu", "gelu"]
Share = typing.Annotated[float, at.Ge(0), at.Lt(1), "a share"]
BASELINE = "letters"

class Texts:
    def load(self) -> list[float]: return []

def load(source=None): return Texts()
def load_test(): return Texts()
def error(out, yb) -> t.Minimize: return out != yb
def f1(out, yb) -> "typing.Annotated[t.Maximize, at.Interval(ge=0, le=1)]": return 1.0
def net_of(data, width): return data

def words(data, /, *, device, seed: int, lr: float = 3, bs=0x10, act: Act = "relu", drop: Share = 0) -> L:
    '''
    Word by word.
    '''
def letters(data, *, drop: typing.Annotated["Share", "as before"] = 0.5, shift=-3, norm: bool = True) -> t.Lesson: 1
"""


def task_of(folder: Path, text: str) -> Task:
    """The task in one file, whose first lines import what annotations need."""
    (folder / "mine.py").write_text(HEAD + text)
    return read_task(folder / "mine.py", "mine.py")


def folder_of(folder: Path, **texts: str) -> Path:
    """A folder called `parts` with these files."""
    for name, text in texts.items():
        path = folder / "parts" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "parts"


def read_error(path: Path, shown: str | None = None) -> str:
    """The one line that reading a task ends with."""
    return refused.refusal(read_task, path, shown or path.name)


def refusal(folder: Path, text: str) -> str:
    """The one line for a task in one file."""
    (folder / "mine.py").write_text(HEAD + text)
    return read_error(folder / "mine.py")


def level(arguments: str = "data", name: str = "mlp") -> str:
    return f"def {name}({arguments}) -> Lesson: ...\n"


# ---- what is read --------------------------------------------------------------------------------------------


def test_a_task_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "texts.py").write_text(TEXTS)
    task = read_task(tmp_path / "texts.py")
    defaults = {"lr": 3.0, "bs": 16, "act": "relu", "drop": 0.0}
    assert task.levels["words"] == Level(
        name="words", summary="Word by word.", family="texts", defaults=defaults, facts=("device", "seed")
    )
    assert repr(task.levels["words"].defaults) == repr(defaults)
    assert task.levels["letters"].defaults == {"drop": 0.5, "shift": -3, "norm": True}
    assert {name: h.allowed for name, h in task.hyperparameters.items()} == {
        "lr": "a number, greater than 0",
        "bs": "an integer, 1 or more",
        "act": "relu, gelu",
        "drop": "a number, 0 or more, below 1",
        "shift": "an integer",
        "norm": "true or false",
    }
    assert task.hyperparameters["drop"].meaning == "a share"
    assert [(m.name, m.mode, str(m.interval)) for m in task.metrics.values()] == [
        ("valid_error", "min", ""),
        ("valid_f1", "max", "0 or more, at most 1"),
        ("valid_loss", "min", ""),
    ]
    assert (task.name, task.baseline, task.loads) == ("texts", "letters", ("load", "load_test"))
    modules = dict.fromkeys(task.modules, "texts")
    assert {"letters", "error", "f1", "load"} < set(modules)
    assert (task.modules, task.files) == (modules, {"texts.py": TEXTS})


@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        ("x: Annotated[float, Interval(ge=0, lt=1)] = 0", "a number, 0 or more, below 1"),
        ("x: Annotated[float, Gt(-1), Le(1), 'a share'] = 1", "a number, greater than -1, at most 1"),
        ("x: Annotated[Annotated[int, Ge(1)], Lt(lt=9)] = 2", "an integer, 1 or more, below 9"),
        ("x: 'Annotated[int, Ge(1)]' = 1", "an integer, 1 or more"),
        ("x: Literal['a', \"b\", 'a'] = 'b'", "a, b"),
        ("x=True", "true or false"),
        ("lr: Annotated[float, 'learning rate'] = 1", "a number, greater than 0"),
    ],
)
def test_an_annotation_or_a_default_says_what_is_allowed(tmp_path: Path, written: str, allowed: str) -> None:
    (h,) = task_of(tmp_path, level(f"data, *, {written}")).hyperparameters.values()
    assert h.allowed == allowed


@pytest.mark.parametrize(
    ("imports", "returns", "is_level"),
    [
        ("import tune_app.task", "tune_app.task.Lesson", True),
        ("import tune_app as a", "' a.task.Lesson'", True),
        ("from tune_app.task import Lesson\nL = Lesson\nM = L", "M", True),
        ("from typing import Annotated\nfrom tune_app.task import Lesson", "Annotated[Lesson, 'so']", True),
        ("from tune_app.task import Lesson\nclass Lesson: ...", "Lesson", False),
        ("from tune_app.task import Lesson", "Lesson | None", False),
        ("from typing import Annotated\nA = Annotated['A', 'me']", "A", False),
        ("import a.b as c", "c.d[0].e", False),
    ],
)
def test_a_level_returns_the_lesson_of_tune_app(tmp_path: Path, imports: str, returns: str, is_level: bool) -> None:
    (tmp_path / "other.py").write_text(f"{imports}\ndef mlp(data) -> {returns}: ...\n")
    if is_level:
        assert list(read_task(tmp_path / "other.py").levels) == ["mlp"]
    else:
        assert read_error(tmp_path / "other.py").startswith(f"other.py: {NO_LEVEL}")


@pytest.mark.parametrize("name", ["Lesson", "'Minimize'"])
def test_a_word_of_tune_app_that_is_not_imported_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.py").write_text(f"from tune_app.task import *\ndef half(out, yb) -> {name}: ...\n")
    said = "x.py: {0} is not imported, allowed: from tune_app.task import {0}"
    assert read_error(tmp_path / "x.py") == said.format(name.strip("'"))


@pytest.mark.parametrize(
    "imports",
    [
        "from logistic import Momentum",
        "import logistic\nMomentum = logistic.Momentum",
        "import logistic as l\nMomentum = l.Momentum",
        "from deep import Momentum",
        "from deep.down import Momentum",
        "from tune_app.task.tutorial.logistic import Momentum",
    ],
)
def test_an_alias_leads_through_the_files_of_a_task(tmp_path: Path, imports: str) -> None:
    folder = folder_of(
        tmp_path,
        logistic=HEAD + "Momentum = Annotated[float, Interval(ge=0, lt=1)]\n" + level("data", "linear"),
        cnn=f"from logistic import Lesson\n{imports}\n" + level("data, *, momentum: Momentum = 0.9", "cnn"),
        **{"deep/__init__": "from logistic import Momentum\n", "deep/down": "from deep import Momentum\n"},
    )
    (h,) = read_task(folder).hyperparameters.values()
    assert h.interval == Interval(ge=0, lt=1)


def test_the_files_of_a_folder_are_families_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        b=HEAD + "def accuracy(out, yb) -> Maximize: ...\n" + level("data", "two") + level("data", "one"),
        a=HEAD + "def error(out, yb) -> Minimize: ...\n" + level("data", "three"),
        _shared=HEAD + "def load(source): ...\n" + level("data", "hidden"),
        **{"inner/c": HEAD + level("data", "deep"), ".hidden/d": "(", "not-a-package/e": "("},
    )
    task = read_task(folder)
    assert {name: one.family for name, one in task.levels.items()} == {"three": "a", "two": "b", "one": "b"}
    assert (task.name, task.baseline, task.families) == ("parts", "three", ["a", "b"])
    assert list(task.metrics) == ["valid_error", "valid_accuracy", "valid_loss"]
    assert (task.loads, list(task.files)) == (("load",), ["_shared.py", "a.py", "b.py", "inner/c.py"])


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
        "tune_app/__init__.py": "this is not ours",
        "torch/notes.py": "no package, so torch means the installed one",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    (tmp_path / "data").mkdir()
    task = task_of(tmp_path, "import model, data, torch\nfrom package import x\nimport plain.x\n" + level())
    assert {"mine.py", *task.files} == {"mine.py", *list(texts)[:6]}
    assert task.files["aside.py"] == "\r\n"
    assert list(task.levels) == ["mlp"]


def test_a_task_reads_the_same_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, logistic=HEAD + level())
    task = read_task(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", str(folder), *sys.path])
    assert read_task(Path()) == read_task(Path("../parts")) == task
    assert read_task(Path("logistic.py")).name == "logistic"
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert read_task(folder) == task


# ---- what is refused -----------------------------------------------------------------------------------------

NO_LEVEL = "no level, allowed: at least one function with -> Lesson, in a file whose name does not begin with _"
ANY = 'allowed: a value written out, of bool, int, float, str, Literal["a"], Annotated[float, Ge(0), "meaning"]'
ENDS = 'allowed: Interval(ge=0, lt=1), Gt(0), Ge(0), Lt(1), Le(1) of annotated_types, "a meaning"'
FORM = "allowed: def mlp(data, *, NAME: TYPE = DEFAULT, ...) -> Lesson"
RUN = "allowed: a default for all but epochs, device, seed, which the run says"
PYTHON = f"allowed: what Python {sys.version_info.major}.{sys.version_info.minor} reads, in UTF-8"
OTHER = "is a column of the results, allowed: another name"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", f" is def mlp() -> Lesson, {FORM}"),
        ("data, lr=0.1", f" is def mlp(data, lr=0.1) -> Lesson, {FORM}"),
        ("data, **options", f" is def mlp(data, **options) -> Lesson, {FORM}"),
        ("data, *, lr=(1, 2)", ": lr is (1, 2), allowed: a number, greater than 0"),
        ("data, *, lr: float = -1e400", ": lr is -1e309, allowed: a number, greater than 0"),
        ("data, *, hidden", f": hidden has no default, {RUN}"),
        ("data, *, epochs=3", f": epochs has a default, {RUN}"),
        ("data, *, valid_loss=3", f": valid_loss {OTHER}"),
        ("data, *, lr='fast'", ": lr is 'fast', allowed: a number, greater than 0"),
        ("data, *, x: int = True", ": x is True, allowed: an integer"),
        ("data, *, x: Literal['a', 'b'] = 'c'", ": x is 'c', allowed: a, b"),
        ("data, *, x: Annotated[float, Lt(1)] = 1", ": x is 1, allowed: a number, below 1"),
        *(
            (f"data, *, x={default}", f": x = {default} is not understood, {ANY}")
            for default in ("None", "[1]", "b'a'", "1j", "--1", "1 + 1", "f'a'", "'\\ud800'", "WIDTH", "{[]: 1}")
        ),
        (f"data, *, x={'9' * 400}", f": x = {'9' * 160} is not understood, {ANY}"),
        (f"data, *, x=0x{'f' * 5000}", f": x = this is not understood, {ANY}"),
        *(
            (f"data, *, x: {kind} = 1", f": x: {kind} = 1 is not understood, {ANY}")
            for kind in ("float | None", "list[int]", "Literal[1, 2]", "Literal[()]", "Lesson", "Unknown", "'int['")
        ),
        ("data, *, x: Annotated[int] = 1", f": x: Annotated[int] = 1 is not understood, {ANY}"),
    ],
)
def test_a_level_of_the_wrong_form_is_one_line(tmp_path: Path, arguments: str, problem: str) -> None:
    assert refusal(tmp_path, level(arguments)) == f"mine.py, line {LINE}: level 'mlp'{problem}"


@pytest.mark.parametrize("end", ["range(3)", "Ge('a')", "Ge(True)", "Ge(1e309)", "Ge(N)", "Interval(0)", "3", "Ge"])
def test_an_end_that_is_not_understood_is_one_line(tmp_path: Path, end: str) -> None:
    text = f"X = Annotated[int, {end}]\n" + level("data, *, x: 'X' = 1")
    assert refusal(tmp_path, text) == f"mine.py, line {LINE}: {end} is not understood, {ENDS}"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("@cache\ndef mlp(data) -> Lesson: ...", 2, f"level 'mlp' is @cache def mlp(data) -> Lesson, {FORM}"),
        ("def m(x) -> Maximize: ...", 1, "metric 'm' is def m(x) -> Maximize, allowed: def m(out, yb) -> Maximize"),
        ("def m(out, yb) -> Annotated[Maximize, (0, 1)]: ...", 1, f"(0, 1) is not understood, {ENDS}"),
        ("def loss(out, yb) -> Minimize: ...", 1, f"metric 'loss': valid_loss {OTHER}"),
        ("def load(a, b): ...", 1, "function 'load' is def load(a, b), allowed: def load(source=None)"),
        ("def read_input(): ...", 1, "function 'read_input' is def read_input(), allowed: def read_input(path)"),
        ("def load_test(): ...", 1, "function 'load_test' stands without load, allowed: load as well"),
        (level() + level(), 2, "level 'mlp' stands twice, also in mine.py, line 4, allowed: each name once"),
        (
            level("data, *, x=1") + level("d, *, x=''", "b"),
            2,
            "level 'b': x takes text, allowed: an integer, as before",
        ),
        ("BASELINE = 'mlq'", 1, "BASELINE is 'mlq', did you mean 'mlp'? allowed: mlp, net"),
        ("return", 1, f"'return' outside function, {PYTHON}"),
    ],
)
def test_a_file_with_a_mistake_is_one_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    others = "" if "mlp(" in text else level() + level("data", "net")
    assert refusal(tmp_path, f"{text}\n{others}") == f"mine.py, line {LINE + line - 1}: {problem}"


@pytest.mark.parametrize(
    "content",
    [b"'\xff'", b"'\0'", b"#" * 1_000_001, b"-" * 50_000 + b"1", b"a." * 50_000 + b"a", b"1" + b"+1" * 50_000],
    ids=range(6),
)
def test_what_python_cannot_read_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.py").write_bytes(content)
    assert "allowed: " in read_error(tmp_path / "mine.py")


def test_an_alias_of_an_alias_of_a_thousand_is_not_understood(tmp_path: Path) -> None:
    aliases = "\n".join(f"A{n} = Annotated[A{n + 1}, 'deeper']" for n in range(5000))
    text = f"{aliases}\nA5000 = int\n" + level("data, *, x: A0 = 1")
    assert refusal(tmp_path, text).endswith(f": level 'mlp': x: A0 = 1 is not understood, {ANY}")


def test_what_is_no_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "my.task.py").write_text("")
    os.mkfifo("pipe.py")
    for typed, problem in {
        "none.py": "no such file or folder, allowed: a Python file (.py), or a folder with Python files",
        "a\0b.py": "no such file or folder, allowed: ",
        "n" * 999: "cannot be read: [Errno 36] File name too long: ",
        "empty": "no Python file, allowed: ",
        "a.txt": "no Python file, allowed: ",
        "pipe.py": "no Python file, allowed: ",
        "my.task.py": "'my.task' cannot be imported, allowed: letters, digits, _ and -",
    }.items():
        assert read_error(Path(typed)).startswith(f"{typed}: {problem}")


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"b": HEAD + level()}, f"/b.py, line {LINE}: level 'mlp' stands twice, also in parts/a.py, line 4"),
        ({"inner/b": "x = ("}, f"/inner/b.py, line 1: '(' was never closed, {PYTHON}"),
        ({"random": ""}, ": random is the name of an installed module, allowed: another name"),
        ({"b c": ""}, ": 'b c' cannot be imported, allowed: letters, digits, _ and -"),
        ({"__init__": "FAMILIES = f()"}, "/__init__.py, line 1: FAMILIES is f(), allowed: all of ['a']"),
        ({"b": "#" * 600_000, "c": "#" * 600_000}, ": its files are larger than 1 MB, allowed: 1 MB for all"),
        ({"c": "from d.b import load", "d/b": ""}, "/c.py: load is imported, allowed: def load(source=None)"),
    ],
    ids=range(7),
)
def test_a_folder_with_a_mistake_is_one_line(tmp_path: Path, texts: dict[str, str], problem: str) -> None:
    assert read_error(folder_of(tmp_path, a=HEAD + level(), **texts)).startswith(f"parts{problem}")


@pytest.mark.parametrize("name", ["torch", "random", "tune_app", "google"])
def test_a_task_is_not_named_like_an_installed_module(tmp_path, monkeypatch, name) -> None:
    (tmp_path / f"{name}.py").write_text(HEAD + level())
    (tmp_path / "folder" / name).mkdir(parents=True)
    (tmp_path / "folder" / name / "a.py").write_text(HEAD + level())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    problem = f"{name} is the name of an installed module, allowed: another name"
    assert read_error(tmp_path / f"{name}.py") == f"{name}.py: {problem}"
    assert read_error(tmp_path / "folder" / name) == f"{name}: {problem}"
    assert task_of(tmp_path, level()).name == "mine"
    if name != "tune_app":
        assert refusal(tmp_path, f"import {name}\n" + level()) == f"mine.py: {problem}"


@pytest.mark.parametrize("whole_path", [False, True])  # True: as with python -m tune_app
def test_the_task_of_a_bundle_is_not_named_like_its_original_where_that_lies(tmp_path, monkeypatch, whole_path):
    file = folder_of(tmp_path, mine=HEAD + level()) / "mine.py"
    (tmp_path / "best" / "task").mkdir(parents=True)
    copied = Path(shutil.copy(file, tmp_path / "best" / "task"))
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr(sys, "path", [str(file.parent) if whole_path else "", *sys.path])
    assert read_task(copied) == read_task(file)


def test_no_link_leads_out_of_a_task(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, a=HEAD + "import b\n" + level())
    (tmp_path / "package").mkdir()
    (folder / "data").symlink_to(tmp_path / "package")
    (folder / "same.py").symlink_to("a.txt")
    (folder / "a.txt").write_text("x = 1")
    assert read_task(folder).files["same.py"] == "x = 1"
    (tmp_path / "package" / "c.py").write_text("")
    out = "a link that leads out of the folder, allowed: the file itself"
    assert read_error(folder) == f"parts/data/c.py: {out}"
    (folder / "data").unlink()
    (folder / "b.py").symlink_to(tmp_path / "package" / "c.py")
    assert read_error(folder) == f"parts/b.py: {out}"
    assert read_error(folder / "a.py") == f"b.py: {out}"


def test_errors_say_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, a="x = (", b="import c\n" + HEAD + level(), c="x = (")
    monkeypatch.chdir(folder)
    assert read_error(folder, "~/parts").startswith("~/parts/a.py, line 1: ")
    assert read_error(folder / "b.py", "~/parts/b.py").startswith("~/parts/c.py, line 1: ")
    assert read_error(Path(), ".").startswith("a.py, line 1: ")


# ---- anything at all -----------------------------------------------------------------------------------------

WHOLE = HEAD + TEXTS
TOKENS = [*"()[]{}:*=,.-@|'\"\\\n\t\0 é", "->", "Lesson", "lambda ", "Annotated[", "async ", "None", "1e999"]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 12), st.sampled_from(TOKENS)), max_size=6))
@example([])
def test_whatever_stands_in_a_file_it_is_a_task_or_one_line(tmp_path: Path, changes: list) -> None:
    text = WHOLE
    for start, removed, put in changes:
        text = text[:start] + put + text[start + removed :]
    (tmp_path / "mine.py").write_text(text)
    try:
        assert read_task(tmp_path / "mine.py", "mine.py").levels
    except TuneAppError as error:
        assert changes
        assert str(error).startswith("mine.py") and "allowed: " in str(error) and "\n" not in str(error)
