"""The functions of a task that declare something: its levels, its metrics, and what reads its data."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tune_app.errors import TuneAppError
from tune_app.task.annotation import LESSON, METRICS, Names
from tune_app.task.files import Source, TaskFiles

LOADS = ("load", "load_test")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Found:
    """A function that declares something. word: what it returns, or nothing for one that reads the data."""

    word: str
    node: Function
    source: Source

    @property
    def where(self) -> str:
        """Where it stands."""
        return self.source.at(self.node)

    @property
    def title(self) -> str:
        """What errors call it."""
        kind = "level " if self.word == LESSON else "metric " if self.word else ""
        return f"{self.where}: {kind}'{self.node.name}'"


def declaring_functions(files: TaskFiles, names: Names) -> list[Found]:
    """The levels, the metrics and what reads the data, in the order of files and lines.

    Raises `TuneAppError` for one in the wrong place or of the wrong form, and for a name that is declared twice.
    """
    found = [f for source in files.own for f in functions_of(source, names)]
    refuse_twice(files, found)
    return found


def functions_of(source: Source, names: Names) -> Iterator[Found]:
    """What declares something in one file; it has to stand at the top."""
    at_top = set(source.tree.body)
    for node in ast.walk(source.tree):
        if not isinstance(node, Function):
            continue
        word = names.word(node.returns, source)
        found = Found(word if word in METRICS or (word == LESSON and not is_private(source)) else "", node, source)
        if node not in at_top:
            if found.word:
                a = "a level" if word == LESSON else "a metric"
                raise TuneAppError(f"{found.title} is not at the top, allowed: {a} stands at the top of its file")
        elif found.word or node.name in LOADS:
            check_function(found)
            yield found


def is_private(source: Source) -> bool:
    """Whether no level can stand in a file."""
    return source.path.name.startswith("_")


def check_function(found: Found) -> None:
    """Raise `TuneAppError` where a function is of the wrong form for what it declares."""
    node, arguments = found.node, found.node.args
    given = len(arguments.posonlyargs) + len(arguments.args)
    if isinstance(node, ast.AsyncFunctionDef):
        raise TuneAppError(f"{found.title} is async, allowed: def")
    if found.word and node.name in LOADS:
        raise TuneAppError(f"{found.title} has the name of what reads the data, allowed: another name")
    plain = not (arguments.vararg or arguments.kwarg or arguments.kwonlyargs)
    if found.word == LESSON:
        check_level(found)
    elif found.word and not (plain and given == 2 and not arguments.defaults):
        raise TuneAppError(f"{found.title} has {in_brackets(arguments)}, allowed: (out, yb)")
    elif not found.word and not (plain and given <= 1):
        raise TuneAppError(f"{found.title} has {in_brackets(arguments)}, allowed: (source=None) or ()")


def check_level(found: Found) -> None:
    """Raise `TuneAppError` where a level has a decorator, or other arguments than the data and named ones."""
    node, arguments = found.node, found.node.args
    if node.decorator_list:
        raise TuneAppError(f"{found.title} has a decorator, allowed: a level without decorator")
    if arguments.vararg or arguments.kwarg:
        raise TuneAppError(f"{found.title} has {in_brackets(arguments)}, allowed: a name for each argument")
    if arguments.defaults:
        allowed = "defaults after a *, as in (data, *, lr=0.01)"
        raise TuneAppError(f"{found.title} has a default for a positional argument, allowed: {allowed}")
    if len(arguments.posonlyargs) + len(arguments.args) != 1:
        allowed = "one argument before the *, the data (a function that is no level goes without -> Lesson)"
        raise TuneAppError(f"{found.title} has {in_brackets(arguments)}, allowed: {allowed}")


def in_brackets(arguments: ast.arguments) -> str:
    """The names of a function's arguments as they are written."""
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg or arguments.kwonlyargs:
        names.append(f"*{arguments.vararg.arg if arguments.vararg else ''}")
    names += [a.arg for a in arguments.kwonlyargs]
    if arguments.kwarg:
        names.append(f"**{arguments.kwarg.arg}")
    return f"({', '.join(names):.80})"


def refuse_twice(files: TaskFiles, found: list[Found]) -> None:
    """Raise `TuneAppError` where a name is declared twice, or means something else further down in its file."""
    declared_in = {(f.source.path, f.node.name) for f in found}
    known: dict[str, str] = {}
    for source in files.own:
        for node in source.tree.body:
            if isinstance(node, (Function, ast.ClassDef)) and (source.path, node.name) in declared_in:
                if other := known.get(node.name):
                    raise TuneAppError(
                        f"{source.at(node)}: '{node.name}' stands twice, also in {other}, allowed: each name once"
                    )
                known[node.name] = source.at(node)
