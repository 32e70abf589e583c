"""What an annotation in a task's file says: a kind of value, its interval or options, or that a function is a level
or a metric. Names are followed to where they come from, through aliases and other files of the task.
"""

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

from tune_app.task.files import Source, TaskFiles, parse, printable
from tune_app.task.task import KINDS, Interval, Value

LESSON = "Lesson"
METRICS = ("Maximize", "Minimize")
ENDS = {"Interval": None, "Gt": "gt", "Ge": "ge", "Lt": "lt", "Le": "le"}
"""What gives an interval, and the end that its argument is where that needs no name."""
WORDS: dict[str, set[str]] = {
    "builtins": {*KINDS},
    "typing": {"Annotated", "Literal"},
    "typing_extensions": {"Annotated", "Literal"},
    "annotated_types": {*ENDS},
    "tune_app.task": {LESSON, *METRICS, "Interval"},
}
"""What annotations are made of, by where it comes from."""
ALLOWED = 'bool, int, float, str, Literal["a", "b"], Annotated[float, Interval(ge=0, lt=1)]'

EVERYWHERE = Interval()


@dataclass(frozen=True)
class Annotation:
    """word: a kind of value, or what a function returns. meaning: the text in an `Annotated`."""

    word: str
    interval: Interval = EVERYWHERE
    options: tuple[str, ...] = ()
    meaning: str = ""


class Bound(NamedTuple):
    """What the top of a file binds: a name to a module's name in full, to an expression, or to something of its own
    (None). stars: the modules of which it imports everything.
    """

    names: dict[str, str | ast.expr | None]
    stars: list[str]


class Piece(NamedTuple):
    """A piece of a file. word: the one of `WORDS` that it is, or nothing."""

    node: ast.expr
    source: Source
    word: str = ""


class Names:
    """What names mean in the files of a task."""

    def __init__(self, files: TaskFiles) -> None:
        self.name = files.name
        self.by_module = {source.module: source for source in files.sources.values()}
        self.bound = {source.path: bound(source) for source in files.sources.values()}

    def read(self, node: ast.expr, source: Source) -> Annotation | None:
        """What an annotation says; None where it is not understood."""
        try:
            return self.annotation(node, source)
        except RecursionError:  # an alias that stands for itself
            return None

    def word(self, node: ast.expr | None, source: Source) -> str:
        """The one of `WORDS` that an annotation is, within `Annotated` or not; empty if it is none of them."""
        try:
            return self.innermost(node, source) if node else ""
        except RecursionError:
            return ""

    def innermost(self, node: ast.expr, source: Source) -> str:
        """The same, where aliases may lead in a circle."""
        node, source, word = self.follow(unquoted(node), source)
        if isinstance(node, ast.Subscript) and self.follow(node.value, source).word == "Annotated":
            return self.innermost(items(node)[0], source)
        return word

    def annotation(self, node: ast.expr, source: Source) -> Annotation | None:
        """What an annotation says; aliases in it may lead in a circle."""
        node, source, word = self.follow(unquoted(node), source)
        if word:
            return Annotation(word)
        if not isinstance(node, ast.Subscript):
            return None
        head, inner = self.follow(node.value, source).word, items(node)
        if head == "Literal":
            texts = [item.value for item in inner if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            plain = len(texts) == len(inner) and all(map(str.isprintable, texts))
            return Annotation("str", options=tuple(dict.fromkeys(texts))) if plain else None
        if head != "Annotated" or len(inner) < 2:
            return None
        first = self.annotation(inner[0], source)
        return reduce(lambda known, more: self.annotated(known, more, source), inner[1:], first)

    def annotated(self, known: Annotation | None, node: ast.expr, source: Source) -> Annotation | None:
        """What is known of an annotation, and what one more argument of `Annotated` says."""
        node, source, _ = self.follow(node, source)
        if known is None:
            return None
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return replace(known, meaning=printable(node.value))
        ends = self.interval(node, source)
        if ends is None or known.word not in ("int", "float", *METRICS):
            return None
        interval = both(known.interval, ends)
        return replace(known, interval=interval) if interval.low <= interval.high else None

    def interval(self, node: ast.expr, source: Source) -> Interval | None:
        """What `Interval(ge=0, lt=1)` or `Ge(0)` says, if it is that."""
        if not isinstance(node, ast.Call):
            return None
        word = self.follow(node.func, source).word
        ends = [(keyword.arg, literal(keyword.value)) for keyword in node.keywords]
        ends += [(ENDS.get(word), literal(argument)) for argument in node.args]
        allowed = list(Interval.model_fields) if word == "Interval" else [ENDS.get(word)]
        if word not in ENDS or any(end not in allowed or type(number) not in (int, float) for end, number in ends):
            return None
        return Interval.model_validate(dict(ends))

    def follow(self, node: ast.expr, source: Source) -> Piece:
        """Where an expression leads, if it is a name; else it stays where it is."""
        name = dotted(node)
        found = self.look_up(name, source) if name else None
        return Piece(node, source, found) if isinstance(found, str) else found or Piece(node, source)

    def look_up(self, name: str, source: Source) -> Piece | str | None:
        """What a name in a file stands for: a piece of the task, one of `WORDS`, or None for anything else."""
        names, stars = self.bound[source.path]
        first, dot, rest = name.partition(".")
        target = names.get(first)
        if isinstance(target, str):
            return self.imported(target + dot + rest)
        if first in names:
            return self.follow(target, source) if target and not rest else None
        for module in stars:
            file = self.file(module)
            if word_of(f"{module}.{name}") or (file and first in self.bound[file.path].names):
                return self.imported(f"{module}.{name}")
        return word_of(f"builtins.{name}") or None

    def imported(self, name: str) -> Piece | str | None:
        """What something stands for whose name is known in full."""
        module, _, last = name.rpartition(".")
        file = self.file(module)
        return word_of(name) or (self.look_up(last, file) if file else None)

    def file(self, module: str) -> Source | None:
        """The file of the task that a module's name means: the one with the most of its last parts."""
        parts = tuple(filter(None, module.split(".")))
        if parts in ((), (self.name,)) and () in self.by_module:
            return self.by_module[()]
        tails = (parts[start:] for start in range(len(parts)))
        return next((self.by_module[tail] for tail in tails if tail in self.by_module), None)


def bound(source: Source) -> Bound:
    """What the top of a file binds, the last of a name."""
    names: dict[str, str | ast.expr | None] = {}
    stars: list[str] = []
    for node in statements(source.tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    names[alias.asname or first] = alias.name if alias.asname else first
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                stars.append(module_of(node, source))
            case ast.ImportFrom():
                module = module_of(node, source)
                names |= {a.asname or a.name: f"{module}.{a.name}" if module else a.name for a in node.names}
            case ast.Assign():
                names |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                names[name] = value
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names[node.name] = None
    return Bound(names, stars)


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements of a file outside of functions and classes, in order, those within `if` and `try` included."""
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = [n for n in ast.iter_child_nodes(node) if isinstance(n, (ast.stmt, ast.ExceptHandler))]
            waiting.extend(reversed(inner))


def module_of(node: ast.ImportFrom, source: Source) -> str:
    """The name of the module that is imported from; a relative one counts from the task's folder."""
    folder = source.path.parent.parts
    above = folder[: max(0, len(folder) - node.level + 1)] if node.level else ()
    return ".".join(filter(None, [*above, node.module]))


def word_of(name: str) -> str:
    """The one of `WORDS` that something's whole name means, or nothing."""
    module, _, last = name.rpartition(".")
    if module.startswith("tune_app.task."):
        module = "tune_app.task"
    return last if last in WORDS.get(module, ()) else ""


def dotted(node: ast.expr) -> str:
    """A name such as `task.Lesson`; empty for any other expression."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def items(node: ast.Subscript) -> list[ast.expr]:
    """What stands in the brackets."""
    return node.slice.elts if isinstance(node.slice, ast.Tuple) and node.slice.elts else [node.slice]


def unquoted(node: ast.expr) -> ast.expr:
    """The annotation that a text in quotes stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            match parse(node.value.strip()).body:
                case [ast.Expr(value=inner)]:
                    return inner
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    return node


def literal(node: ast.expr) -> Value | None:
    """The finite number, the text or the truth value that is written out here; None for anything else."""
    match node:
        case ast.Constant(value=bool(value)):
            return value
        case ast.Constant(value=str(value)):
            return value if value.isprintable() else None
        case ast.Constant(value=int(value) | float(value)):
            return value if is_finite(value) else None
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float()) as number):
            without = literal(number)
            if isinstance(without, (int, float)) and not isinstance(without, bool):
                return -without if isinstance(sign, ast.USub) else without
    return None


def is_finite(number: float) -> bool:
    """Whether a number is none of infinity, and no integer beyond what a float can be."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def both(one: Interval, other: Interval) -> Interval:
    """The numbers that lie in both intervals."""
    pair = (one, other)
    lows = [(end, open_) for i in pair for end, open_ in ((i.ge, False), (i.gt, True)) if end is not None]
    highs = [(end, closed) for i in pair for end, closed in ((i.lt, False), (i.le, True)) if end is not None]
    low, is_open = max(lows, default=(None, False))
    high, is_closed = min(highs, default=(None, False))
    return Interval(
        gt=low if is_open else None,
        ge=None if is_open else low,
        lt=None if is_closed else high,
        le=high if is_closed else None,
    )
