"""Print tables to a terminal, or without a terminal's width to a file or pipe."""

import sys
from typing import IO

from rich.console import Console, RenderableType

WIDTH_OF_A_PIPE = 120


def console(stderr: bool = False) -> Console:
    """A console on stdout or stderr, which may be closed."""
    width = None if is_terminal(sys.stderr if stderr else sys.stdout) else WIDTH_OF_A_PIPE
    return Console(stderr=stderr, width=width, highlight=False, markup=False)


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream leads to a terminal: FORCE_COLOR and TTY_COMPATIBLE say that of a file, too."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # a program's own stream, or one that was closed
        return False


def can_draw(out: Console) -> bool:
    """Whether what is shown can be drawn over, which TERM=dumb and TTY_INTERACTIVE=0 deny."""
    moves = out.is_terminal and out.is_interactive and not out.is_dumb_terminal
    return moves and is_terminal(out.file)


def print_renderable(content: RenderableType) -> None:
    """Print to stdout."""
    console().print(content)
