"""A level as one plain script: the train.py of a bundle, put together from the files in `plain/`.

Nothing is generated but the constants and the imports: every other line stands in `plain/` as it is written,
where it is linted, type-checked and can be run. A new level is one file there.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tune_app.task.task import Config
from tune_app.task.tutorial import tutorial

PLAIN = "tune_app.task.tutorial.plain"
FOUND = f"{PLAIN}.pieces.found"
"""The piece in whose place the found values are written."""

DOCSTRING = '''
"""Train level "{level}" of the tutorial "What is torch.nn really?" with what a search found.

    python train.py --data mnist.parquet -o weights.safetensors

In plain PyTorch, after the section "{section}" of
https://pytorch.org/tutorials/beginner/nn_tutorial.html
With the same versions, threads and CPU model the numbers come out the same to the last bit.
"""
'''
CONSTANTS = f"# ---- what the search found {'-' * 77}"


@dataclass(frozen=True)
class Piece:
    """A file of `plain/`: what it imports from there, what from elsewhere (module, name or ""), and the rest."""

    needs: tuple[str, ...]
    imports: frozenset[tuple[str, str]]
    body: str


def train_script(config: Config, seed: int, epochs: float, results_per_epoch: int, threads: int) -> str:
    """The script that trains a complete config (see `levels.complete`), as text."""
    level = tutorial().levels[str(config["level"])]
    constants = {
        **{name: value for name, value in config.items() if name != "level"},
        "seed": seed,
        "epochs": float(epochs),
        "results_per_epoch": results_per_epoch,
        "threads": threads,
    }
    pieces = [read_piece(module) for module in in_order(f"{PLAIN}.{level.name}")]
    return "\n".join(
        (
            DOCSTRING.strip().format(level=level.name, section=level.summary),
            "",
            *import_lines(frozenset().union(*(piece.imports for piece in pieces))),
            "",
            *constant_lines(constants),
            "",
            "\n\n".join(piece.body for piece in pieces),
        )
    )


def constant_lines(constants: Mapping[str, object]) -> Iterator[str]:
    """The found values as assignments; `repr` gives floats in full."""
    yield CONSTANTS
    yield ""
    for name, value in constants.items():
        yield f"{name} = {value!r}"


def in_order(module: str) -> list[str]:
    """The modules of `plain/` that this one needs, each behind those that it needs itself; this one at the end."""
    found: list[str] = []
    for needed in read_piece(module).needs:
        found += [name for name in in_order(needed) if name not in found]
    return [*found, module]


@cache
def read_piece(module: str) -> Piece:
    """Take a file of `plain/` apart: its docstring is left out, its imports must stand before all else."""
    package, _, name = module.rpartition(".")
    text = files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")
    statements = ast.parse(text).body
    last: ast.stmt = statements[0]
    needs: list[str] = []
    imports: set[tuple[str, str]] = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            imports |= {(ast.unparse(name), "") for name in statement.names}
        elif isinstance(statement, ast.ImportFrom) and str(statement.module).startswith(PLAIN):
            needs.append(str(statement.module))
        elif isinstance(statement, ast.ImportFrom):
            imports |= {(str(statement.module), ast.unparse(name)) for name in statement.names}
        else:
            continue
        last = statement
    body = "\n".join(text.splitlines()[last.end_lineno or 0 :]).strip("\n") + "\n"
    return Piece(tuple(name for name in needs if name != FOUND), frozenset(imports), body)


def import_lines(imports: frozenset[tuple[str, str]]) -> Iterator[str]:
    """Import statements in the usual order: the standard library, then the rest; whole modules first."""
    modules = sorted({module for module, _ in imports}, key=str.lower)
    for standard in (True, False):
        if not standard:
            yield ""
        ours = [m for m in modules if (m.partition(".")[0] in sys.stdlib_module_names) == standard]
        yield from (f"import {module}" for module in ours if (module, "") in imports)
        for module in ours:
            names = sorted({name for m, name in imports if m == module and name})
            if names:
                yield f"from {module} import {', '.join(names)}"
