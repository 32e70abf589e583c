"""What the driver spends its time on."""

import pytest

from tune_app.engine.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr("tune_app.engine.stopwatch.time.perf_counter", lambda: now[0])
    return now


def test_of_tasks_within_each_other_the_innermost_counts(clock: list[float]) -> None:
    watch = Stopwatch()
    clock[0] = 1
    with watch.on("tune"):
        clock[0] = 3
        with watch.on("write"):
            clock[0] = 7
        clock[0] = 8
    clock[0] = 16
    assert watch.take("tune", "write", "other") == {"tune_seconds": 3, "write_seconds": 4, "other_seconds": 9}


def test_what_was_taken_is_not_told_again(clock: list[float]) -> None:
    watch = Stopwatch()
    with watch.on("tune"):
        clock[0] = 2
        assert watch.take("tune") == {"tune_seconds": 2}
        clock[0] = 5
    assert watch.take("tune", "ask") == {"tune_seconds": 3, "ask_seconds": 0}


def test_a_task_that_fails_has_taken_its_time_nevertheless(clock: list[float]) -> None:
    watch = Stopwatch()
    with pytest.raises(OSError), watch.on("write"):
        clock[0] = 2
        raise OSError
    clock[0] = 3
    assert watch.take("write") == {"write_seconds": 2}
