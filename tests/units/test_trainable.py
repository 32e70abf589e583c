"""The trainable as Ray Tune makes it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune_app.tuning.trainable import TutorialTrial


class Idle(TutorialTrial):
    """Takes no trial."""

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing."""


def test_a_worker_stays_in_its_directory_also_on_a_cluster_that_others_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = SimpleNamespace(trial_fs_path="x", trial_working_directory=str(tmp_path / "x"))
    Idle(storage=storage)  # type: ignore[arg-type]
    assert (tmp_path / "x").is_dir()
    assert Path.cwd() == tmp_path
