"""Paths as people type them. Each option, argument and Python parameter that names one is read here."""

import os
import re
from pathlib import Path

from tune_app.errors import TuneAppError

ELSEWHERE = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*:[/\\]+|(s3|gs|az|hdfs|file|https?):)", re.IGNORECASE)
"""How a URL and a path of Windows begin; also a URL that was a Path, which drops the second slash."""


def typed_path(given: str | os.PathLike[str], allowed: str = "a path") -> Path:
    """The path that a person means: `~` and `~name` are homes. A relative one stays relative.

    Raises `TuneAppError` for a URL, of which a folder called `gs:` would be made, and for the home of nobody.
    """
    text = os.fspath(given)
    if elsewhere := ELSEWHERE.match(text):  # the rest may hold a password
        raise TuneAppError(f"{elsewhere[0]}...: is no path on this machine, allowed: {allowed}")
    path = os.path.expanduser(text)  # noqa: PTH111 (Path would take ./~ for a home, too)
    if path.startswith("~"):
        raise TuneAppError(f"{text}: is nobody's home, allowed: {allowed}; ./{text} is a file of that name")
    return Path(path)


def current_directory() -> Path:
    """The current directory; `TuneAppError` where it is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise TuneAppError("the current directory is gone, allowed: another one (cd)") from None


def cache_folder() -> Path:
    """Where copies and marks of this user stay: $XDG_CACHE_HOME/tune_app or ~/.cache/tune_app."""
    return typed_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tune_app"
