"""What units share."""

import os
from pathlib import Path

import pytest

from tune_app.experiment.spec import Paths
from tune_app.storage.location import paths


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at stake, and a disk takes its time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def at(tmp_path: Path) -> Paths:
    """Where the experiment x of a test lies."""
    return paths(tmp_path, "x")
