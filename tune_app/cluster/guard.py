"""A guard for what is private of a library: it is used only while it is what it was written for."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

LEAVE_OUT = "TUNE_APP_PLAIN_RAY"
"""An environment variable: where it is set, everything here is left out."""


@dataclass(frozen=True)
class Private:
    """Something private of Ray, as it was when this was written.

    name: module:attribute. shape: its signature, or its type; "" for what only instances have. read_by: a function
    of Ray whose code names it.
    """

    name: str
    shape: str
    read_by: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def attribute(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(":")[2].rpartition(".")[2]

    @property
    def holder(self) -> Any:
        """The module or the class that it is in."""
        return resolve_name(self.name[: -len(self.attribute) - 1])

    def __call__(self) -> Any:
        """The thing that Ray has by this name now."""
        return getattr(self.holder, self.attribute)

    @property
    def unchanged(self) -> bool:
        """Whether Ray still has it as it was, and reads it where it did."""
        try:
            same = not self.shape or shape(self()) == self.shape
            reader = inspect.unwrap(resolve_name(self.read_by)).__code__ if self.read_by else None
        except (ImportError, AttributeError, ValueError):
            return False
        return same and (reader is None or self.attribute in reader.co_names) and not os.environ.get(LEAVE_OUT)


def shape(thing: object) -> str:
    """The signature of a function, without annotations; the type of anything else."""
    if not callable(thing):
        return type(thing).__name__
    signature = inspect.signature(thing)
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def unchanged(*things: Private) -> bool:
    """Whether all of them are as they were."""
    return all(thing.unchanged for thing in things)


@contextmanager
def replaced(instead: Mapping[Private, Callable[[Any], Any]], *used: Private) -> Iterator[bool]:
    """Within the block, Ray has something else in these places, made from what it had: all of it, or nothing.

    used: what the replacements need besides. Yields whether it was replaced.
    """
    with ExitStack() as put_back:
        allowed = unchanged(*instead, *used)
        for thing, made_from in instead.items() if allowed else ():
            holder, before = thing.holder, thing()
            put_back.callback(setattr, holder, thing.attribute, before)
            setattr(holder, thing.attribute, made_from(before))
        yield allowed
