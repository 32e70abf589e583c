"""The one line with which something is refused."""

from collections.abc import Callable

import pytest
from click.testing import Result

from tune_app.errors import TuneAppError


def refusal(call: Callable[..., object], *arguments: object, kind: type[Exception] = TuneAppError) -> str:
    """What a call says that it refuses."""
    with pytest.raises(kind) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def error_of(done: Result) -> str:
    """What a command says that it refuses, less "Error: "; it prints nothing else."""
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.output
    assert done.stderr.startswith("Error: ")
    return done.stderr.removeprefix("Error: ").removesuffix("\n")
