"""Silence on a clock that stands still while this process does."""

from types import SimpleNamespace

import pytest

from tune_app.trials.watchdog import Watchdog


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=100.0)


@pytest.fixture
def watchdog(clock: SimpleNamespace) -> Watchdog:
    """It waits for five seconds, and has heard "a" once."""
    watchdog = Watchdog(5, lambda: clock.now)
    watchdog.heard("a")
    return watchdog


def wait(watchdog: Watchdog, clock: SimpleNamespace, seconds: float) -> list[str]:
    """Look ten times a second, as the driver does."""
    found: list[str] = []
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        found += watchdog.hanging()
    return found


def test_a_silent_trial_is_named_once_and_a_talking_one_never(watchdog, clock) -> None:
    named = []
    for _ in range(4):
        watchdog.heard("talking")
        named += wait(watchdog, clock, 3)
    assert named == ["a"]


def test_a_trial_that_begins_again_has_its_whole_time_again(watchdog, clock) -> None:
    assert wait(watchdog, clock, 6) == ["a"]
    watchdog.heard("a")
    assert wait(watchdog, clock, 4) == []
    assert wait(watchdog, clock, 2) == ["a"]


def test_what_has_ended_is_not_waited_for(watchdog, clock) -> None:
    watchdog.forget("a")
    watchdog.forget("never heard of")
    assert wait(watchdog, clock, 20) == []


def test_time_in_which_the_driver_was_stopped_does_not_count(watchdog, clock) -> None:
    clock.now += 3600
    assert wait(watchdog, clock, 3.8) == []
    clock.now -= 3600
    assert wait(watchdog, clock, 0.1) == []
    assert wait(watchdog, clock, 1) == ["a"]


def test_without_a_timeout_nothing_hangs(clock) -> None:
    watchdog = Watchdog(None, lambda: clock.now)
    watchdog.heard("a")
    assert wait(watchdog, clock, 100) == []
