"""The files of a task: which of them belong to it, and their text as syntax trees. Nothing of them is executed."""

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path, PurePath

from tune_app.errors import TuneAppError

ALLOWED = "allowed: a Python file (.py), or a folder with Python files"
MOST_BYTES = 1_000_000
PACKAGE = "tune_app"  # which is no part of a task that lies beside it
TUTORIAL = "tune_app.task.tutorial."  # what its files put before each other's names
UNREADABLE = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)  # what Python raises for a text


@dataclass(frozen=True, eq=False)
class Source:
    """One file. key: its path within the task. shown: how errors name it. task: all files of the task by key."""

    key: str
    shown: str
    text: str
    tree: ast.Module
    task: "dict[str, Source]" = field(repr=False)

    @property
    def stem(self) -> str:
        """Its name as a module."""
        return PurePath(self.key).stem

    @cached_property
    def names(self) -> dict[str, str | ast.AST]:
        """The values of the names at its top: something imported, by its whole name, or a piece of the file."""
        names: dict[str, str | ast.AST] = {}
        for node in self.tree.body:
            match node:
                case ast.Import(names=aliases):
                    names |= {a.asname: a.name for a in aliases if a.asname}
                case ast.ImportFrom(module=module, names=aliases):
                    names |= {a.asname or a.name: f"{module}.{a.name}" for a in aliases}
                case ast.Assign(targets=targets, value=value):
                    names |= {target.id: value for target in targets if isinstance(target, ast.Name)}
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    names[name] = value
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names[name] = node
        return names

    def file(self, module: str) -> "Source | None":
        """The file of the task that is imported under a module's name."""
        path = module.removeprefix(TUTORIAL).replace(".", "/")
        return self.task.get(f"{path}.py") or self.task.get(f"{path}/__init__.py")

    def at(self, node: ast.stmt | ast.expr | ast.arg) -> str:
        """The place of a piece of it, for errors."""
        return f"{self.shown}, line {node.lineno}"


def read_files(path: Path, shown: str) -> tuple[str, list[Source]]:
    """The name of the task at `path`, and its files in which something may be declared, sorted by name.

    Of a file, that is this file; what it imports from beside it is read as well. Of a folder: the files in it, not
    those in its packages. Raises `TuneAppError`, which calls the task `shown`.
    """
    is_folder = path.is_dir()
    folder, place = (path, PurePath(shown)) if is_folder else (path.parent, PurePath(shown).parent)
    files = python_files(path) if is_folder else [path] * (path.suffix == ".py" and path.is_file())
    if not files:
        raise TuneAppError(f"{shown}: no {'Python file' if path.exists() else 'such file or folder'}, {ALLOWED}")
    sources: dict[str, Source] = {}
    for file in files:  # which grows
        key = file.relative_to(folder).as_posix()
        if key in sources:
            continue
        called = printable(str(place / key))
        if file != path and not file.resolve().is_relative_to(folder.resolve()):
            raise TuneAppError(f"{called}: a link that leads out of the folder, allowed: the file itself")
        if file.stat().st_size + sum(len(source.text) for source in sources.values()) > MOST_BYTES:
            raise TuneAppError(f"{shown}: its files are larger than 1 MB, allowed: 1 MB for all of them together")
        sources[key] = Source(key, called, *read_text(file, called), sources)
        files += [] if is_folder else beside(folder, sources[key].tree)
    name = path.resolve().name if is_folder else path.stem
    check_names({name, *(key.partition("/")[0].removesuffix(".py") for key in sources)}, folder, shown)
    return name, [source for key, source in sources.items() if key == path.name or (is_folder and "/" not in key)]


def read_text(file: Path, shown: str) -> tuple[str, ast.Module]:
    """The text and the syntax tree of a file; warnings about it are for whoever runs it."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
            compile(tree, shown, "exec")  # two arguments of one name pass the parser
    except UNREADABLE as error:
        where = f"{shown}, line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else shown
        problem = printable(str(getattr(error, "msg", error))) or type(error).__name__
        python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        raise TuneAppError(f"{where}: {problem:.200}, allowed: what {python} reads, in UTF-8") from None
    return text, tree


def python_files(folder: Path) -> list[Path]:
    """The Python files of a folder and of the packages in it, sorted by name; what is hidden is passed over."""
    files: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".py" and not entry.name.startswith("."):
            files += [entry] * entry.is_file()  # nobody writes into a pipe that is read here
        elif entry.name.isidentifier() and entry.is_dir():  # a link may lead to much data
            files += sorted(entry.glob("*.py")) if entry.is_symlink() else python_files(entry)
    return files


def beside(folder: Path, tree: ast.Module) -> Iterator[Path]:
    """The files beside a task that a file of it imports anywhere, as modules or with their whole package."""
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    for name in sorted({name.partition(".")[0] for name in names} - {PACKAGE}):
        package, module = folder / name, folder / f"{name}.py"
        is_package = (package / "__init__.py").is_file()
        if module.is_file() and not is_package:
            yield module
        elif is_package or (package.is_dir() and not is_installed(name, folder)):
            yield from python_files(package)


def check_names(names: set[str], folder: Path, shown: str) -> None:
    """Raise `TuneAppError` for a name that Python cannot import, or under which it has another module."""
    for name in sorted(names - {"__init__"}):
        if not re.fullmatch(r"[\w-]+", name):
            raise TuneAppError(f"{shown}: {name!r} cannot be imported, allowed: letters, digits, _ and -")
        if is_installed(name, folder):
            raise TuneAppError(f"{shown}: {name} is the name of an installed module, allowed: another name")


def is_installed(name: str, folder: Path) -> bool:
    """True if Python has a module of this name outside the task's surroundings and the current directory."""
    near, here = (folder.resolve(), folder.resolve().parent), Path()
    having = (Path(entry) for entry in sys.path if PathFinder.find_spec(name, [entry]))
    elsewhere = any(not entry.samefile(here) and entry.resolve() not in near for entry in having)
    return elsewhere or name == PACKAGE or name in sys.stdlib_module_names


def printable(text: str) -> str:
    """A text on one line that can be shown and written anywhere."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def quoted(node: ast.AST) -> str:
    """A piece of a file on one line."""
    try:
        return f"{printable(ast.unparse(node)):.160}"
    except UNREADABLE:  # nested too deeply, or an integer of thousands of digits
        return "this"
