"""WHAT is trained. Knows of no search.

A task of one's own imports from here:

>>> from tune_app.task import Lesson, Maximize, Minimize, fit, get_data
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune_app.task.loop import Lesson, Maximize, Minimize, fit, get_data

__all__ = ["Lesson", "Maximize", "Minimize", "fit", "get_data"]


def __getattr__(name: str) -> object:
    """Import what needs torch, which takes a second, only when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tune_app.task import loop

    return getattr(loop, name)
