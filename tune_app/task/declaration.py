"""A task as its files declare it: `read_task` reads levels, hyperparameters and metrics from the text of a Python
file or a folder of them. Nothing of it is executed.

Functions at the top of a file that return a `Lesson` are its levels, and their keyword-only arguments with a
default are hyperparameters; functions that return `Maximize` or `Minimize` are its metrics.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tune_app.errors import TuneAppError, choices
from tune_app.task.annotation import ALLOWED, EVERYWHERE, LESSON, METRICS, Annotation, Names, literal, module_of
from tune_app.task.files import Source, TaskFiles, printable, read_files
from tune_app.task.functions import LOADS, Found, declaring_functions
from tune_app.task.task import FACTS, KINDS, LOSS, Hyperparameter, Interval, Level, Metric, Task, Value

USUAL = {
    "lr": Hyperparameter(name="lr", kind="float", interval=Interval(gt=0)),
    "bs": Hyperparameter(name="bs", kind="int", interval=Interval(ge=1)),
}
"""What is known of a hyperparameter by its name."""
ANY_VALUE = "true or false, a number or text, written out"


def read_task(path: Path, name_in_errors: str | None = None) -> Task:
    """The task that a file or a folder declares; nothing of it is executed or imported.

    Raises `TuneAppError`, which says file, line, what is wrong and what is allowed. It calls the task
    `name_in_errors`, or by its path.
    """
    shown = name_in_errors or str(path)
    try:
        return declared(read_files(path, shown))
    except RecursionError:
        raise TuneAppError(f"{shown}: nested too deeply, allowed: what Python can read") from None


def declared(files: TaskFiles) -> Task:
    """The task that these files declare."""
    names = Names(files)
    found = in_order(files, declaring_functions(files, names))
    levels, hyperparameters = read_levels([f for f in found if f.word == LESSON], names)
    if not levels:
        allowed = "at least one function with -> Lesson, in a file whose name does not begin with _"
        raise TuneAppError(f"{files.shown}: no level, allowed: {allowed} (from tune_app.task import Lesson)")
    metrics = [read_metric(f, names) for f in found if f.word in METRICS]
    return Task(
        name=files.name,
        levels=levels,
        hyperparameters=hyperparameters,
        metrics={metric.name: metric for metric in (*metrics, Metric(name=LOSS, mode="min"))},
        baseline=read_baseline(files, levels),
        modules=tuple(dict.fromkeys(f.source.path.stem for f in found)),
        loads=read_loads(files, found, names),
        files={key: source.text for key, source in files.sources.items()},
    )


def in_order(files: TaskFiles, found: list[Found]) -> list[Found]:
    """What was found in the order of the files: that of FAMILIES in `__init__.py`, else by name."""
    families = list(dict.fromkeys(f.source.path.stem for f in found if f.word == LESSON))
    for source, node, value in assigned(files, "FAMILIES"):
        if source.path.name != "__init__.py":
            continue
        stated = [literal(item) for item in value.elts] if isinstance(value, (ast.List, ast.Tuple)) else []
        if Counter(stated) != Counter(families):
            allowed = f"each file that has levels once, {', '.join(families)}"
            raise TuneAppError(f"{source.at(node)}: FAMILIES is {source.quote(value)}, allowed: {allowed}")
        families = [str(family) for family in stated]
    place = {family: number for number, family in enumerate(families)}
    return sorted(found, key=lambda f: (place.get(f.source.path.stem, len(place)), f.source.path))


def assigned(files: TaskFiles, name: str) -> Iterator[tuple[Source, ast.stmt, ast.expr]]:
    """Where the files state a value of this name at their top."""
    for source in files.own:
        for node in source.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            if value is not None and any(isinstance(t, ast.Name) and t.id == name for t in targets):
                yield source, node, value


def read_levels(found: list[Found], names: Names) -> tuple[dict[str, Level], dict[str, Hyperparameter]]:
    """The levels, and the hyperparameters of all of them."""
    levels: dict[str, Level] = {}
    known: dict[str, tuple[Hyperparameter, str]] = {}
    for f in found:
        defaults: dict[str, Value] = {}
        for argument, default in zip(f.node.args.kwonlyargs, f.node.args.kw_defaults, strict=True):
            where = f.source.at(argument)
            if default is None:
                check_fact(f"{where}: level '{f.node.name}'", argument.arg)
                continue
            h, defaults[argument.arg] = read_hyperparameter(f, argument, default, names)
            known[h.name] = same_everywhere(h, where, known)
        facts = tuple(a.arg for a in f.node.args.kwonlyargs if a.arg not in defaults)
        levels[f.node.name] = Level(
            name=f.node.name,
            summary=printable((ast.get_docstring(f.node) or "\n").splitlines()[0]),
            family=f.source.path.stem,
            defaults=defaults,
            facts=facts,
        )
    return levels, {name: h for name, (h, _) in known.items()}


def check_fact(title: str, name: str) -> None:
    """Raise `TuneAppError` unless an argument without default is a fact of the run."""
    if name not in FACTS:
        allowed = f"a default, or one of {', '.join(FACTS)}, which the run says"
        raise TuneAppError(f"{title}: {name} has no default, allowed: {allowed}")


def same_everywhere(
    h: Hyperparameter, where: str, known: dict[str, tuple[Hyperparameter, str]]
) -> tuple[Hyperparameter, str]:
    """A hyperparameter with its meaning, and where it stands first; it is one thing in the whole task."""
    if h.name not in known:
        return h, where
    first, first_where = known[h.name]
    if (h.kind, h.interval, h.options) != (first.kind, first.interval, first.options):
        raise TuneAppError(
            f"{where}: {h.name} takes {h.allowed}, and in {first_where}, {first.allowed}, "
            "allowed: the same in all levels"
        )
    return (first if first.meaning else h), first_where


def read_hyperparameter(
    found: Found, argument: ast.arg, default: ast.expr, names: Names
) -> tuple[Hyperparameter, Value]:
    """The hyperparameter that an argument of a level is, and its default there."""
    name, source, value = argument.arg, found.source, literal(default)
    title = f"{source.at(argument)}: level '{found.node.name}'"
    if name == "level" or name in FACTS:
        allowed = "none, since the run says it" if name in FACTS else "another name"
        raise TuneAppError(f"{title}: {name} has a default, allowed: {allowed}")
    h = declared_hyperparameter(title, argument, value, source, names)
    written = f"{title}: {name} is {source.quote(default)}"
    if h is None or value is None:
        raise TuneAppError(f"{written}, allowed: {h.allowed if h else ANY_VALUE}")
    if h.kind == "int" and isinstance(value, float):
        raise TuneAppError(f"{written}, allowed: {h.allowed}")
    try:
        return h, h.check(value)
    except TuneAppError as error:
        raise TuneAppError(f"{title}: {error}") from None


def declared_hyperparameter(
    title: str, argument: ast.arg, value: Value | None, source: Source, names: Names
) -> Hyperparameter | None:
    """What an argument says of its values, by its annotation, else by name and default; None if nothing does."""
    name, usual = argument.arg, USUAL.get(argument.arg)
    if argument.annotation is not None:
        said = names.read(argument.annotation, source)
        if said is None or said.word not in KINDS:
            shown = source.quote(argument.annotation)
            raise TuneAppError(f"{title}: {name}: {shown} is not understood, allowed: {ALLOWED}")
        if usual and said.word != usual.kind:
            raise TuneAppError(f"{title}: {name} is annotated as {said.word}, allowed: {usual.kind}")
    elif usual or value is not None:
        said = Annotation(usual.kind if usual else type(value).__name__)
    else:
        return None
    interval = usual.interval if usual and said.interval == EVERYWHERE else said.interval
    return Hyperparameter.model_validate(
        {"name": name, "kind": said.word, "interval": interval, "options": said.options, "meaning": said.meaning}
    )


def read_metric(found: Found, names: Names) -> Metric:
    """The metric that a function measures."""
    name, returns = f"valid_{found.node.name}", found.node.returns
    said = names.read(returns, found.source) if returns else None
    if said is None:
        allowed = "Maximize, Minimize, Annotated[Maximize, Interval(ge=0, le=1)]"
        raise TuneAppError(f"{found.title}: {found.source.quote(returns)} is not understood, allowed: {allowed}")
    if name == LOSS:
        raise TuneAppError(f"{found.title} is the name of the loss, which every task has, allowed: another name")
    return Metric(name=name, mode="max" if said.word == "Maximize" else "min", interval=said.interval)


def read_baseline(files: TaskFiles, levels: dict[str, Level]) -> str:
    """The level of trial 0: BASELINE, else the first."""
    stated = list(assigned(files, "BASELINE"))
    if not stated:
        return next(iter(levels))
    source, node, value = stated[-1]
    if len(stated) > 1:
        first = stated[0][0].at(stated[0][1])
        raise TuneAppError(f"{source.at(node)}: BASELINE stands twice, also in {first}, allowed: once")
    name, shown = literal(value), source.quote(value)
    if not isinstance(name, str) or name not in levels:
        raise TuneAppError(f"{source.at(node)}: BASELINE is {shown}, {choices(name or shown, levels)}")
    return name


def read_loads(files: TaskFiles, found: list[Found], names: Names) -> tuple[str, ...]:
    """The functions that read data; they are defined in the task's own files."""
    known = {f.node.name: f for f in found}
    for source in files.own:
        for node in source.tree.body:
            if isinstance(node, ast.ImportFrom) and names.file(module_of(node, source)):
                for name in {alias.asname or alias.name for alias in node.names} & set(LOADS) - set(known):
                    raise TuneAppError(
                        f"{source.at(node)}: {name} is imported, allowed: def {name}(source=None) here"
                    )
    if "load_test" in known and "load" not in known:
        raise TuneAppError(f"{known['load_test'].title} stands without load, allowed: load as well")
    return tuple(name for name in LOADS if name in known)
