"""What a search shows fits where it goes: a table that is drawn over, or a line for each ended trial."""

import io
import os
import pty
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest
from rich.console import Console

from tests.made_up import ask_and_start, give, searching
from tune_app.engine.search import Search
from tune_app.output.progress import progress
from tune_app.output.terminal import console
from tune_app.output.view import MOST_SHOWN, status_view
from tune_app.storage.load import load_experiment

LINE = "trial 0: completed, valid accuracy 0.9000 at epoch "
VARIABLES = ("TERM", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """A search with a trial that has ended after it was first shown."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tune_app.output.progress.SECONDS_BETWEEN_REFRESHES", 0)
    with searching(tmp_path / "experiments", "made", metric="valid_accuracy") as search:
        yield search


def shown(search: Search, stream: TextIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the search on stderr before and after a trial."""
    with monkeypatch.context() as changed:
        changed.setattr(sys, "stderr", stream)
        with progress(quiet=False) as said:
            said.show(search.history, 2)
            give(search, ask_and_start(search), *[0.9] * 9)
            said.show(search.history, 2)
            said.announce("The search was interrupted.")


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    """A terminal of 100 columns: what a program writes to, and where that comes out."""
    outside, inside = pty.openpty()
    termios.tcsetwinsize(inside, (30, 100))
    with os.fdopen(inside, "w") as stream:
        yield stream, outside
    os.close(outside)


def read(outside: int) -> str:
    """What a terminal has shown so far."""
    os.set_blocking(outside, False)
    seen = b""
    try:
        while content := os.read(outside, 65536):
            seen += content
    except BlockingIOError:
        pass
    return seen.decode()


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_a_file_gets_lines_whatever_says_that_it_were_a_terminal(search, monkeypatch, name) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    log = io.StringIO()
    shown(search, log, monkeypatch)
    assert log.getvalue().startswith(LINE)
    assert "\x1b[" not in log.getvalue().replace("\x1b[0m", "")


@pytest.mark.parametrize("variables", [{"TERM": "dumb", "TTY_INTERACTIVE": "1"}, {"TTY_INTERACTIVE": "0"}], ids=str)
def test_a_terminal_that_cannot_draw_over_gets_lines(search, monkeypatch, terminal, variables) -> None:
    for name, value in {**variables, "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    shown(search, terminal[0], monkeypatch)
    seen = read(terminal[1])
    assert LINE in seen
    assert "of 2 trials" not in seen
    assert seen.index(LINE) < seen.index("interrupted")


@pytest.mark.parametrize(("rows", "columns"), [(30, 100), (30, 1), (0, 0)])
def test_a_terminal_that_can_gets_a_table_also_of_few_columns_or_of_none(
    search, monkeypatch, terminal, rows, columns
) -> None:
    termios.tcsetwinsize(terminal[0].fileno(), (rows, columns))
    monkeypatch.setenv("TERM", "xterm")
    shown(search, terminal[0], monkeypatch)
    seen = read(terminal[1])
    assert "\x1b[" in seen and LINE not in seen
    assert columns < 100 or "1 of 2 trials: 1 completed" in seen


def test_a_stream_that_is_closed_or_no_file_is_none_to_fail_on(search, monkeypatch) -> None:
    texts: list[str] = []
    log = SimpleNamespace(write=texts.append, flush=lambda: None)  # what print needs, and no more
    shown(search, log, monkeypatch)  # type: ignore[arg-type]
    assert "".join(texts).startswith(LINE)
    shown(search, None, monkeypatch)
    monkeypatch.setattr(sys, "stdout", None)
    console().print("nobody hears it")


def test_a_log_has_a_line_for_each_trial_that_pauses(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tune_app.output.progress.SECONDS_BETWEEN_REFRESHES", 0)
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with searching(tmp_path, "made", scheduler="promotion") as search, progress(quiet=False) as said:
        said.show(search.history, 9)
        for _ in range(2):  # the baseline, which does not pause, and another
            give(search, ask_and_start(search), 0.9)
            said.show(search.history, 9)
            said.show(search.history, 9)
    (line,) = log.getvalue().splitlines()
    assert line.startswith("trial 1: paused, valid accuracy 0.9000 at epoch 1; ")


def status_of_many(folder: Path) -> list[str]:
    out = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    out.print(status_view(load_experiment("many", folder)))
    return out.export_text().splitlines()


def test_of_very_many_trials_those_that_run_and_the_best_are_shown(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"num_samples": 1000, "max_epochs": 1, "early_stopping": False}
    with searching(tmp_path, "many", **settings) as search:
        for number in range(MOST_SHOWN):
            give(search, ask_and_start(search), number / 1000)
        assert len(status_of_many(tmp_path)) == 3 + 1 + MOST_SHOWN
        give(search, ask_and_start(search), 0.5)
        running = ask_and_start(search)
        lines = status_of_many(tmp_path)
        numbers = [int(line.split()[0]) for line in lines[4:-1]]
        assert numbers == [*range(1, MOST_SHOWN + 1), running]
        assert lines[-1] == "These are running or the best of 202; --json shows all, --trial any."
