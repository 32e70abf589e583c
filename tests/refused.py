"""The one line with which something is refused."""

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
from click.testing import Result

from tune_app.errors import TuneAppError


def refusal(call: Callable[..., object], *arguments: object, kind: type[Exception] = TuneAppError) -> str:
    """What a call says that it refuses."""
    with pytest.raises(kind) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def error_of(done: Result | CompletedProcess[str]) -> str:
    """What a command says that it refuses, less "Error: "; it prints nothing else."""
    code = done.exit_code if isinstance(done, Result) else done.returncode
    assert (code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stdout + done.stderr
    assert done.stderr.startswith("Error: ")
    return done.stderr.removeprefix("Error: ").removesuffix("\n")


def mistake_in(done: Result, level: str = "net") -> str:
    """What tune-app check says that is wrong with a level."""
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    start = f"Error: level '{level}': "
    assert done.stderr.startswith(start)
    return done.stderr.removeprefix(start).removesuffix("\n")
