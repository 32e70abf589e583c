"""Print tables to a terminal, or without a terminal's width to a file or pipe."""

import sys
from collections.abc import Container
from typing import IO

from rich.console import Console
from rich.table import Table

WIDTH_OF_A_PIPE = 120


def console(stderr: bool = False, quiet: bool = False) -> Console:
    """A console on stdout or stderr, which may be closed. quiet: it prints nothing."""
    width = None if is_terminal(sys.stderr if stderr else sys.stdout) else WIDTH_OF_A_PIPE
    return Console(stderr=stderr, quiet=quiet, width=width, highlight=False, markup=False)


def is_terminal(stream: IO[str] | None) -> bool:
    """True if a stream leads to a terminal. Rich trusts FORCE_COLOR and TTY_COMPATIBLE, even for a file."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # a program's own stream, or one that was closed
        return False


def can_draw(out: Console) -> bool:
    """True if a live table can be drawn; TERM=dumb and TTY_INTERACTIVE=0 forbid it."""
    moves = out.is_terminal and out.is_interactive and not out.is_dumb_terminal
    return moves and is_terminal(out.file)


def plain_table(*columns: str, text: Container[str]) -> Table:
    """A table without lines: the columns in `text` to the left, numbers to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column in text else "right")
    return table
