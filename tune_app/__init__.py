"""Search hyperparameters of "What is torch.nn really?" on MNIST with Ray Tune.

>>> from tune_app import search, resume, extend, confirm, load_experiment, load_space, Where
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from tune_app.errors import TuneAppError
from tune_app.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from tune_app.api import Where, confirm, extend, load_experiment, load_space, resume, search

__all__ = ["Where", "confirm", "extend", "load_experiment", "load_space", "resume", "search"]
OPTION = re.compile(r"(?<!\S)--(?P<no>no-)?(?P<name>[a-z][a-z-]*)(?![a-z=-])")
"""An option in a message; those of other commands are written with their value: ray start --address=HOST:PORT."""


def __getattr__(name: str) -> Any:
    """Import the API when it is used: `tune-app --help` needs none of it."""
    if name in __all__:
        from tune_app import api

        found = getattr(api, name)
        globals()[name] = found if isinstance(found, type) else in_python(found)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def in_python(called: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the API whose errors name an option as Python does: num_samples for --num-samples."""

    def argument(option: re.Match[str]) -> str:
        name = option["name"].replace("-", "_")
        return f"{name}=False" if option["no"] else name

    @wraps(called)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return called(*arguments, **named)
        except TuneAppError as error:
            error.args = (OPTION.sub(argument, str(error)),)
            raise

    return call
