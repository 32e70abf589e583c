"""What units share."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at stake, and a disk takes its time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
