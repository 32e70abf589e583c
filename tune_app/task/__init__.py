"""The tasks: the code that is trained. It knows nothing of searches.

A task of one's own imports from here:

>>> from tune_app.task import Lesson, Maximize, Minimize, fit, get_data
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune_app.task.loop.batches import get_data
    from tune_app.task.loop.fit import fit
    from tune_app.task.loop.lesson import Lesson, Maximize, Minimize

__all__ = ["Lesson", "Maximize", "Minimize", "fit", "get_data"]
HOMES = {"get_data": "batches", "fit": "fit"}
"""The modules of the loop that hold these names; all others are in `lesson`."""


def __getattr__(name: str) -> object:
    """Import what needs torch, which takes a second, only when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tune_app.task.loop.{HOMES.get(name, 'lesson')}"), name)
