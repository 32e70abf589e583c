"""Print tables to a terminal, or without a terminal's width to a file or pipe."""

import sys

from rich.console import Console, RenderableType

WIDTH_OF_A_PIPE = 120


def console(stderr: bool = False) -> Console:
    """A console on stdout or stderr."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDTH_OF_A_PIPE, highlight=False, markup=False)


def print_renderable(content: RenderableType) -> None:
    """Print to stdout."""
    console().print(content)
