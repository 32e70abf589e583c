"""Mistakes that a person can act on."""

from collections.abc import Iterable
from difflib import get_close_matches


class TuneAppError(Exception):
    """One line that says what is wrong and what is allowed; commands print it and exit with 1."""


def choices(wrong: object, allowed: Iterable[str]) -> str:
    """Name what is allowed instead of `wrong`, the nearest first: "did you mean 'lr'? allowed: bs, lr"."""
    allowed = list(allowed)
    near = get_close_matches(str(wrong), allowed, n=1, cutoff=0.6)
    guess = f"did you mean '{near[0]}'? " if near else ""
    return f"{guess}allowed: {', '.join(allowed)}"
