"""A watchdog over trials: it finds those that have been silent for too long."""

import time
from collections.abc import Callable

LONGEST_STEP = 1.0
"""Seconds that may count between two looks: what is more, this process was stopped or the machine asleep."""


class Watchdog:
    """Notes when a trial was last heard of, on a clock that stands still while this process does.

    timeout: seconds of silence after which a trial hangs, None: never. now: seconds, for tests.
    """

    def __init__(self, timeout: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.timeout, self.now = timeout, now
        self.clock, self.looked = 0.0, now()
        self.last_heard: dict[str, float] = {}

    def heard(self, trial: str) -> None:
        """A trial has begun or reported."""
        self.last_heard[trial] = self.clock

    def forget(self, trial: str) -> None:
        """A trial has ended."""
        self.last_heard.pop(trial, None)

    def hanging(self) -> list[str]:
        """The trials that have been silent for too long; each is named once."""
        now = self.now()
        self.clock += min(max(0.0, now - self.looked), LONGEST_STEP)
        self.looked = now
        if self.timeout is None:
            return []
        silent = [trial for trial, heard in self.last_heard.items() if self.clock - heard > self.timeout]
        for trial in silent:
            self.forget(trial)
        return silent
