"""The files of a task: which of them belong to it, and their text as syntax trees. Nothing of them is executed,
and nothing is imported.
"""

import ast
import os
import re
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tune_app.errors import TuneAppError

MOST_BYTES = 1_000_000
ALLOWED = "a Python file (.py), or a folder with Python files"
NAME = re.compile(r"[\w-]+")
"""The names under which Python can import a file, a dash included."""
OURS = "tune_app"
"""This package, which is no part of a task that lies beside it."""


@dataclass(frozen=True)
class Source:
    """One file. path: within the task. shown: how errors name it."""

    path: PurePosixPath
    shown: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> tuple[str, ...]:
        """The parts of its name as a module; none for the `__init__.py` of the task itself."""
        parts = self.path.with_suffix("").parts
        return parts[:-1] if parts[-1] == "__init__" else parts

    def at(self, node: ast.stmt | ast.expr | ast.arg) -> str:
        """Where a piece of it stands, for errors."""
        return f"{self.shown}, line {node.lineno}"

    def quote(self, node: ast.expr | None) -> str:
        """A piece of it as it is written, on one line."""
        return f"{printable((node and ast.get_source_segment(self.text, node)) or ''):.60}"


@dataclass(frozen=True)
class TaskFiles:
    """What was read. shown: how errors name the task. sources: all files, by their path within the task; own: those
    that may declare something, sorted by name.
    """

    name: str
    shown: str
    sources: dict[str, Source]
    own: tuple[Source, ...]


@dataclass(frozen=True)
class Place:
    """Where the files of a task lie: the folder, and how errors name it."""

    folder: Path
    shown: PurePosixPath

    def show(self, path: Path) -> str:
        """How errors name a file or a folder in it."""
        return printable(str(self.shown / path.relative_to(self.folder).as_posix()))


def read_files(path: Path, shown: str) -> TaskFiles:
    """Read the task at `path`, which errors call `shown`. Raises `TuneAppError` where it cannot be read."""
    try:
        if path.is_dir():
            return read_folder(path, shown)
        if not path.exists():
            raise TuneAppError(f"{shown}: no such file or folder, allowed: {ALLOWED}")
        if not path.is_file() or path.suffix != ".py":
            raise TuneAppError(f"{shown}: not a Python file, allowed: {ALLOWED}")
        return read_file(path, shown)
    except OSError as error:
        raise unreadable(shown, error) from None


def read_folder(path: Path, shown: str) -> TaskFiles:
    """All Python files of a folder and of the packages in it; those in the folder itself are its own."""
    name = path.name if path.name not in ("", "..") else path.resolve().name
    place = Place(path, PurePosixPath(shown))
    if not any(path.glob("[!.]*.py")):
        raise TuneAppError(f"{shown}: no Python file in this folder, allowed: {ALLOWED}")
    sources = read_sources(place, python_files(place, path), follow_imports=False)
    check_name(name, shown, place, sources)
    return TaskFiles(name, shown, sources, tuple(s for s in sources.values() if len(s.path.parts) == 1))


def read_file(path: Path, shown: str) -> TaskFiles:
    """A file, and what it imports from beside it; the file alone is its own."""
    place = Place(path.parent, PurePosixPath(shown).parent)
    sources = read_sources(place, [path], follow_imports=True)
    return TaskFiles(path.stem, shown, sources, (sources[path.name],))


def read_sources(place: Place, files: list[Path], follow_imports: bool) -> dict[str, Source]:
    """Read files, and, if wanted, the modules beside them that they import."""
    sources: dict[str, Source] = {}
    waiting, left = deque(files), MOST_BYTES
    while waiting:
        file = waiting.popleft()
        key = file.relative_to(place.folder).as_posix()
        if key in sources:
            continue
        content = read_bytes(file, place.show(file), left)
        left -= len(content)
        sources[key] = parsed(PurePosixPath(key), place.show(file), content)
        if follow_imports:
            waiting.extend(imported_files(place, sources[key]))
    top = {source.module[0]: source.shown for source in reversed(sources.values()) if source.module}
    for name, shown in top.items():
        check_name(name, shown, place, sources)
    return sources


def read_bytes(file: Path, shown: str, most: int) -> bytes:
    """The content of a file of at most this size."""
    try:
        if file.exists() and not file.is_file():  # nobody writes into a pipe that is read here
            raise TuneAppError(f"{shown}: not a Python file, allowed: {ALLOWED}")
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise unreadable(shown, error) from None
    if len(content) > most:
        raise TuneAppError(
            f"{shown}: the task's files are larger than 1 MB, allowed: 1 MB for all of them together"
        )
    return content


def unreadable(shown: str, error: OSError) -> TuneAppError:
    """The operating system refuses to read a file."""
    return TuneAppError(f"{shown}: cannot be read: {error.strerror or error}, allowed: {ALLOWED}")


def parsed(path: PurePosixPath, shown: str, content: bytes) -> Source:
    """The text and the syntax tree of a file."""
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise TuneAppError(f"{shown}, line {line}: a null byte, allowed: text")
        return Source(path, shown, text, parse(text))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TuneAppError(f"{shown}, line {line}: not a text in UTF-8, allowed: UTF-8") from None
    except SyntaxError as error:
        where = f"{shown}, line {error.lineno}" if error.lineno else shown
        problem = " ".join(error.msg.split())
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise TuneAppError(f"{where}: {problem:.200}, allowed: what Python {version} can read") from None
    except (RecursionError, MemoryError, ValueError):
        raise TuneAppError(f"{shown}: nested too deeply, allowed: what Python can read") from None


def parse(text: str) -> ast.Module:
    """The syntax tree of what Python can compile; warnings about the text are for whoever runs it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
        compile(tree, "a task", "exec", dont_inherit=True)  # two arguments of one name pass the parser
    return tree


def python_files(place: Place, folder: Path) -> list[Path]:
    """The Python files of a folder and of the packages in it, sorted by name; what is hidden is passed over."""
    files: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".py" and not entry.name.startswith("."):
            refuse_link_outside(place, entry)
            files.append(entry)
        elif entry.name.isidentifier() and entry.name != "__pycache__" and entry.is_dir():
            if not entry.is_symlink():
                files += python_files(place, entry)
            elif any(entry.glob("*.py")):  # a link to data is nobody's concern
                raise TuneAppError(f"{place.show(entry)}: a link to a package, allowed: the package itself")
    return files


def refuse_link_outside(place: Place, file: Path) -> None:
    """Raise `TuneAppError` where a file is a link that leads out of the task's folder."""
    target = Path(os.path.realpath(file))
    if file.is_symlink() and not target.is_relative_to(os.path.realpath(place.folder)):
        raise TuneAppError(f"{place.show(file)}: a link that leads out of the folder, allowed: the file itself")


def imported_files(place: Place, source: Source) -> Iterator[Path]:
    """The files beside a task that a file of it imports, as modules or with their whole package."""
    beside = {entry.name for entry in place.folder.iterdir()}
    for name in imported_names(source):
        folder, file = place.folder / name, place.folder / f"{name}.py"
        if name == OURS:
            continue
        if name in beside and (folder / "__init__.py").is_file():
            yield from package_files(place, folder)
        elif file.name in beside:
            refuse_link_outside(place, file)
            yield file
        elif name in beside and folder.is_dir() and not is_installed(name, place, {}):
            yield from package_files(place, folder)


def package_files(place: Place, folder: Path) -> list[Path]:
    """The Python files of a package beside a task."""
    if folder.is_symlink():
        raise TuneAppError(f"{place.show(folder)}: a link to a package, allowed: the package itself")
    return python_files(place, folder)


def imported_names(source: Source) -> Iterator[str]:
    """The names of the modules that a file imports, anywhere in it, without what follows a dot."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level <= (len(source.path.parts) == 1):
            yield from [node.module.partition(".")[0]] if node.module else (alias.name for alias in node.names)


def check_name(name: str, shown: str, place: Place, sources: dict[str, Source]) -> None:
    """Raise `TuneAppError` for a name that Python cannot import, or under which it has another module."""
    if not NAME.fullmatch(name):
        raise TuneAppError(f"{shown}: {name!r} cannot be imported, allowed: a name of letters, digits, _ and -")
    if is_installed(name, place, sources):
        raise TuneAppError(f"{shown}: {name} is also the name of an installed module, allowed: another name")


def is_installed(name: str, place: Place, sources: dict[str, Source]) -> bool:
    """Whether Python has a module of this name besides the task's, which its current directory may show to it."""
    if name == OURS or name in sys.stdlib_module_names:
        return True
    folder = os.path.realpath(place.folder)
    near = {folder, str(Path(folder).parent), os.path.realpath(Path.cwd())}
    path = [entry for entry in sys.path if os.path.realpath(entry or Path.cwd()) not in near]
    own = {str(Path(folder) / key) for key in sources}
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    return any(spec is not None and os.path.realpath(spec.origin or "") not in own for spec in specs)


def printable(text: str) -> str:
    """A text on one line that can be shown and written anywhere."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
