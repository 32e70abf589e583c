"""Search hyperparameters of "What is torch.nn really?" on MNIST with Ray Tune.

>>> from tune_app import search, resume, extend, confirm, load_experiment, load_space, Where
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_app.api import Where, confirm, extend, load_experiment, load_space, resume, search

__all__ = ["Where", "confirm", "extend", "load_experiment", "load_space", "resume", "search"]


def __getattr__(name: str) -> Any:
    """Import the API when it is used: `tune-app --help` needs none of it."""
    if name in __all__:
        from tune_app import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
