"""A task as its files declare it: `read_task` reads levels, hyperparameters and metrics from the text of a Python
file or a folder of them. Nothing of it is executed.

Functions at the top of a file that return a `Lesson` are its levels, and their keyword-only arguments with a
default are hyperparameters; functions that return `Maximize` or `Minimize` are its metrics.
"""

import ast
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tune_app.errors import TuneAppError, choices
from tune_app.task.annotation import LESSON, METRICS, Annotation, literal, read_annotation
from tune_app.task.files import ALLOWED, Source, printable, quoted, read_files
from tune_app.task.task import COLUMNS, FACTS, KINDS, LOSS, Hyperparameter, Interval, Level, Metric, Task, Value

LOADS = {"load": "(source=None)", "load_test": "(source=None)", "read_input": "(path)"}
"""The functions that read data and inputs, and how they are written."""
USUAL = {"lr": Annotation("float", Interval(gt=0)), "bs": Annotation("int", Interval(ge=1))}
"""The usual annotations of hyperparameters with these names."""
ANY_VALUE = (
    'allowed: a value written out, of bool, int, float, str, Literal["a"], Annotated[float, Ge(0), "meaning"]'
)


@dataclass(frozen=True)
class Function:
    """A function that declares something. says: what it returns; of one that reads data, nothing."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    source: Source
    says: Annotation

    def wrong(self, problem: str, argument: ast.arg | None = None) -> TuneAppError:
        """The error for a mistake in this function."""
        kind = "level" if self.says.kind == LESSON else "metric" if self.says.kind else "function"
        return TuneAppError(f"{self.source.at(argument or self.node)}: {kind} '{self.node.name}'{problem}")


def read_task(path: Path, name_in_errors: str | None = None) -> Task:
    """The task that a file or a folder declares; nothing of it is executed or imported.

    Raises `TuneAppError`, which says file, line, what is wrong and what is allowed. It calls the task
    `name_in_errors`, or by its path.
    """
    shown = name_in_errors or str(path)
    try:
        name, own = read_files(path, shown)
    except OSError as error:
        raise TuneAppError(f"{shown}: cannot be read: {printable(str(error))}, {ALLOWED}") from None
    found = in_order(own, [f for source in own for f in functions(source)])
    metrics = [*(read_metric(f) for f in found if f.says.kind in METRICS), Metric(name=LOSS, mode="min")]
    taken = {*COLUMNS, *(metric.name for metric in metrics)}
    levels, hyperparameters = read_levels([f for f in found if f.says.kind == LESSON], taken)
    if not levels:
        allowed = "at least one function with -> Lesson, in a file whose name does not begin with _"
        raise TuneAppError(f"{shown}: no level, allowed: {allowed} (from tune_app.task import Lesson)")
    return Task(
        name=name,
        levels=levels,
        hyperparameters=hyperparameters,
        metrics={metric.name: metric for metric in metrics},
        baseline=read_baseline(own, levels),
        modules={f.node.name: f.source.stem for f in found},
        loads=read_loads(own, found),
        files={key: source.text for key, source in own[0].task.items()},
    )


def functions(source: Source) -> Iterator[Function]:
    """The functions at the top of a file that declare something."""
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            says = Annotation("") if node.name in LOADS else read_annotation(node.returns, source)
            if says and says.kind not in KINDS and not (says.kind == LESSON and source.stem.startswith("_")):
                check_form(function := Function(node, source, says))
                yield function


def check_form(f: Function) -> None:
    """Raise `TuneAppError` for a function that is not written like others that declare the same."""
    given = f.node.args
    number = len(given.posonlyargs + given.args)
    if f.says.kind == LESSON:
        form = "(data, *, NAME: TYPE = DEFAULT, ...) -> Lesson"
        fits = number == 1 and not given.defaults and not f.node.decorator_list
    elif f.says.kind in METRICS:
        form = f"(out, yb) -> {f.says.kind}"
        fits = number == 2 and not given.defaults and not given.kwonlyargs
    else:
        form = LOADS[f.node.name]
        fits = number in ((1,) if form == "(path)" else (0, 1)) and not given.kwonlyargs
    if not fits or given.vararg or given.kwarg or isinstance(f.node, ast.AsyncFunctionDef):
        head = copy(f.node)
        head.body = []
        raise f.wrong(f" is {quoted(head).removesuffix(':')}, allowed: def {f.node.name}{form}")


def in_order(own: list[Source], found: list[Function]) -> list[Function]:
    """The functions, no name twice, in the order of the files: FAMILIES in `__init__.py`, else by name."""
    known: dict[str, Function] = {}
    for f in found:
        if (other := known.setdefault(f.node.name, f)) is not f:
            raise f.wrong(f" stands twice, also in {other.source.at(other.node)}, allowed: each name once")
    families = list(dict.fromkeys(f.source.stem for f in found if f.says.kind == LESSON))
    for source in own:
        node = source.names.get("FAMILIES") if source.key == "__init__.py" else None
        if isinstance(node, ast.expr):
            stated = [str(literal(item)) for item in getattr(node, "elts", [])]
            if sorted(stated) != sorted(families):
                raise TuneAppError(f"{source.at(node)}: FAMILIES is {quoted(node)}, allowed: all of {families}")
            families = stated
    return sorted(found, key=lambda f: [*families, f.source.stem].index(f.source.stem))


def read_metric(f: Function) -> Metric:
    """The metric that a function measures."""
    name = f"valid_{f.node.name}"
    if name in (LOSS, *COLUMNS):
        raise f.wrong(f": {name} is a column of the results, allowed: another name")
    return Metric(name=name, mode="max" if f.says.kind == "Maximize" else "min", interval=f.says.interval)


def read_levels(found: list[Function], taken: set[str]) -> tuple[dict[str, Level], dict[str, Hyperparameter]]:
    """The levels, and the hyperparameters of all of them. taken: the names that these may not have."""
    levels: dict[str, Level] = {}
    known: dict[str, Hyperparameter] = {}
    for f in found:
        arguments = list(zip(f.node.args.kwonlyargs, f.node.args.kw_defaults, strict=True))
        defaults: dict[str, Value] = {}
        for argument, default in arguments:
            check_argument(f, argument, default, taken)
            if default:
                h, defaults[h.name] = read_hyperparameter(f, argument, default)
                first = known.setdefault(h.name, h)
                if (h.kind, h.interval, h.options) != (first.kind, first.interval, first.options):
                    raise f.wrong(f": {h.name} takes {h.allowed}, allowed: {first.allowed}, as before", argument)
                known[h.name] = first if first.meaning else h
        levels[f.node.name] = Level(
            name=f.node.name,
            summary=printable((ast.get_docstring(f.node) or "\n").splitlines()[0]),
            family=f.source.stem,
            defaults=defaults,
            facts=tuple(argument.arg for argument, default in arguments if not default),
        )
    return levels, known


def check_argument(f: Function, argument: ast.arg, default: ast.expr | None, taken: set[str]) -> None:
    """Raise `TuneAppError` for a keyword-only argument that is neither a hyperparameter nor a fact of the run."""
    name = argument.arg
    if (name in FACTS) == (default is not None):
        allowed = f"a default for all but {', '.join(FACTS)}, which the run says"
        raise f.wrong(f": {name} has {'a' if default else 'no'} default, allowed: {allowed}", argument)
    if default and name in taken:
        raise f.wrong(f": {name} is a column of the results, allowed: another name", argument)


def read_hyperparameter(f: Function, argument: ast.arg, default: ast.expr) -> tuple[Hyperparameter, Value]:
    """The hyperparameter that an argument declares (by its annotation, name or default), and its default."""
    name, value = argument.arg, literal(default)
    says = usual = USUAL.get(name, Annotation(type(value).__name__))
    if argument.annotation:
        says = read_annotation(argument.annotation, f.source) or Annotation("")
    if says.kind not in KINDS:
        raise f.wrong(f": {quoted(argument)} = {quoted(default)} is not understood, {ANY_VALUE}", argument)
    interval = usual.interval if says.kind == usual.kind and says.interval == Interval() else says.interval
    h = Hyperparameter.model_validate({**vars(says), "name": name, "interval": interval})
    with suppress(TuneAppError):
        if h.kind != "int" or not isinstance(value, float):
            return h, h.check(value)
    raise f.wrong(f": {name} is {quoted(default)}, allowed: {h.allowed}", argument)


def read_baseline(own: list[Source], levels: dict[str, Level]) -> str:
    """The level of trial 0: BASELINE, else the first."""
    for source in own:
        node = source.names.get("BASELINE")
        if isinstance(node, ast.expr):
            if (name := literal(node)) not in levels:
                allowed = choices(name or quoted(node), levels)
                raise TuneAppError(f"{source.at(node)}: BASELINE is {quoted(node)}, {allowed}")
            return str(name)
    return next(iter(levels))


def read_loads(own: list[Source], found: list[Function]) -> tuple[str, ...]:
    """The functions that read data and inputs; they are defined in the task's own files."""
    known = {f.node.name: f for f in found}
    for source, name in product(own, LOADS):
        whole = source.names.get(name)
        if name not in known and isinstance(whole, str) and source.file(whole.rpartition(".")[0]):
            raise TuneAppError(f"{source.shown}: {name} is imported, allowed: def {name}{LOADS[name]} here")
    if "load_test" in known and "load" not in known:
        raise known["load_test"].wrong(" stands without load, allowed: load as well")
    return tuple(name for name in LOADS if name in known)
