"""What a person is shown."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.made_up import ask_and_start, give, searching
from tune_app.output.view import MOST_SHOWN, status_view
from tune_app.storage.load import load_experiment


def shown(tmp_path: Path) -> list[str]:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(status_view(load_experiment("many", tmp_path)))
    return console.export_text().splitlines()


def test_of_very_many_trials_those_that_run_and_the_best_are_shown(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"num_samples": 1000, "max_epochs": 1, "early_stopping": False}
    with searching(tmp_path, "many", **settings) as search:
        for number in range(MOST_SHOWN):
            give(search, ask_and_start(search), number / 1000)
        assert len(shown(tmp_path)) == 3 + 1 + MOST_SHOWN
        give(search, ask_and_start(search), 0.5)
        running = ask_and_start(search)
        lines = shown(tmp_path)
        numbers = [int(line.split()[0]) for line in lines[4:-1]]
        assert numbers == [*range(1, MOST_SHOWN + 1), running]
        assert lines[-1] == "These are running or the best of 202; --json shows all, --trial any."
