"""The meaning of an annotation in a task's file: a kind of value, its interval or options, a level or a metric.
Names are followed to where they come from, through aliases and other files of the task.
"""

import ast
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import annotated_types

from tune_app.errors import TuneAppError
from tune_app.task.files import UNREADABLE, Source, printable, quoted
from tune_app.task.task import KINDS, Interval, Value

LESSON = "Lesson"
METRICS = ("Maximize", "Minimize")
OURS = ("tune_app.task", "tune_app.task.loop.lesson")


@dataclass(frozen=True)
class Annotation:
    """kind: of a value, or what a function returns. meaning: the text in an `Annotated`."""

    kind: str
    interval: Interval = field(default_factory=Interval)
    options: tuple[str, ...] = ()
    meaning: str = ""


WORDS: dict[str, Any] = {
    **{kind: Annotation(kind) for kind in KINDS},
    **{f"{module}.{word}": Annotation(word) for module in OURS for word in (LESSON, *METRICS)},
    **{f"annotated_types.{name}": vars(annotated_types)[name] for name in ("Interval", "Gt", "Ge", "Lt", "Le")},
    **{f"{module}.{form}": form for module in ("typing", "typing_extensions") for form in ("Annotated", "Literal")},
}
"""The parts of annotations, by their whole names."""


def read_annotation(node: ast.expr | None, source: Source) -> Annotation | None:
    """The meaning of an annotation; None if it does not matter here.

    Raises `TuneAppError` for an `Annotated` in which something else stands beside one that counts, and for a word
    of tune_app that is not imported.
    """
    with suppress(*UNREADABLE):  # an alias may stand for itself
        if node and isinstance(said := meant(unquoted(node), source), Annotation):
            return said
    return None


def meant(node: ast.expr, source: Source) -> Any:
    """The meaning of an expression in an annotation, None if it does not matter. May raise one of `UNREADABLE`."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return named(ast.unparse(node), source)
        case ast.Subscript(value=form, slice=inside):
            return in_brackets(meant(form, source), getattr(inside, "elts", [inside]), source)
        case ast.Call(func=func, args=args, keywords=keywords):
            said = meant(func, source)(*map(literal, args), **{str(k.arg): literal(k.value) for k in keywords})
            ends = {end: getattr(said, end, None) for end in Interval.model_fields}
            if len(args) + len(keywords) == sum(number is not None for number in ends.values()):
                return Interval.model_validate(ends, strict=True)
    return None


def named(name: str, source: Source) -> Any:
    """The meaning of a name in a file: one of `WORDS`, or that of an expression, here or in another file."""
    first, dot, rest = name.partition(".")
    if first not in source.names and name in (LESSON, *METRICS):  # in quotes, Python does not look for it
        raise TuneAppError(f"{source.shown}: {name} is not imported, allowed: from tune_app.task import {name}")
    target = source.names.get(first, first)
    if not isinstance(target, str):
        return meant(target, source) if isinstance(target, ast.expr) and not rest else None
    whole = target + dot + rest
    module, _, last = whole.rpartition(".")
    file = source.file(module)
    return named(last, file) if file else WORDS.get(whole)


def in_brackets(form: object, items: list[ast.expr], source: Source) -> Annotation | None:
    """The meaning of a `Literal` or an `Annotated` with these contents."""
    first, *more = items
    if form == "Literal":
        options = [option for option in map(literal, items) if isinstance(option, str)]
        return Annotation("str", options=tuple(dict.fromkeys(options))) if len(options) == len(items) else None
    known = meant(unquoted(first), source) if form == "Annotated" and more else None
    if not isinstance(known, Annotation):
        return None
    for item in more:
        said = None
        with suppress(*UNREADABLE):
            said = meant(item, source)
        if isinstance(said, str):
            known = replace(known, meaning=printable(said))
        elif isinstance(said, Interval):
            ends = said.model_dump(exclude_none=True)
            known = replace(known, interval=known.interval.model_copy(update=ends))
        else:
            allowed = 'Interval(ge=0, lt=1), Gt(0), Ge(0), Lt(1), Le(1) of annotated_types, "a meaning"'
            raise TuneAppError(f"{source.at(item)}: {quoted(item)} is not understood, allowed: {allowed}")
    return known


def unquoted(node: ast.expr) -> ast.expr:
    """The annotation in a quoted text."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return node
    return ast.increment_lineno(ast.parse(node.value.strip(), mode="eval").body, node.lineno - 1)


def literal(node: ast.expr) -> Value | None:
    """The finite number, the text or the truth value that is written out here; None for anything else."""
    with suppress(*UNREADABLE):
        value = ast.literal_eval(node)
        if isinstance(value, int | float) and abs(value) <= sys.float_info.max:
            return value
        if isinstance(value, str) and value.isprintable():
            return value
    return None
