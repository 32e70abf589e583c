"""What a worker tells the driver at once, and how long it may be silent."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.made_up import WORKER, diverged, result_of
from tune_app.trials.watchdog import Watchdog
from tune_app.trials.worker import MESSAGE, WORK, Failed, Started, Trained, TrialWorker, Work

WHOLE = Work(
    trial=0,
    metric="valid_accuracy",
    config={"level": "linear"},
    seed=0,
    until=9,
    epochs=9,
    results_per_epoch=1,
    judged=[1, 3, 9],
    threads=1,
    gpu=False,
    task=None,
    data=None,
    after=0,
    state=None,
)


class Told(TrialWorker):
    """Its results took `seconds` each; instead of one it raises, or it is not finite."""

    seconds, fails, diverges = 0.0, 0, 0

    def attempt(self, work: Work) -> Iterator[Started | Trained]:
        yield Started(WORKER)
        for k in range(work.after + 1, int(work.until) + 1):
            if k == self.fails:
                raise ValueError("unlucky")
            result = diverged(k) if k == self.diverges else result_of(k, 0.5)
            yield Trained(
                replace(result, train_seconds=self.seconds, valid_seconds=0.0), np.frombuffer(b"state", np.uint8)
            )

    def told(self) -> list[object]:
        """The next messages: the numbers of results, and the kinds of others."""
        messages = [told[MESSAGE] for told in self.train_buffered(0.0)]
        return [one.result.k if isinstance(one, Trained) else type(one) for one in messages]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path))
    return Told({WORK: WHOLE})


def test_quick_results_are_told_together_up_to_one_at_which_the_trial_may_end(worker: Told) -> None:
    assert [worker.told() for _ in range(4)] == [[Started], [1], [2, 3], [4, 5, 6, 7, 8, 9]]
    worker.reset_config({WORK: replace(WHOLE, after=3, until=8)})
    assert worker.told() == [Started, 4, 5, 6, 7, 8]


def test_a_result_that_takes_long_is_told_before_the_next_is_trained(worker: Told) -> None:
    worker.seconds = 1.0
    assert [worker.told() for _ in range(4)] == [[Started], [1], [2], [3]]
    worker.reset_config({WORK: WHOLE})
    assert worker.told() == [Started]  # so the trial is seen to run while it trains its first


@pytest.mark.parametrize("what", ["fails", "diverges"])
def test_nothing_is_trained_after_a_failure(worker: Told, what: str) -> None:
    setattr(worker, what, 5)
    last = Failed if what == "fails" else 5
    assert [worker.told() for _ in range(4)] == [[Started], [1], [2, 3], [4, last]]


# ---- silence on a clock that stands still while this process does ------------------------------------


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


def test_a_silent_trial_is_named_once_whenever_it_begins_and_a_talking_one_never(watchdog, clock) -> None:
    named = []
    for _ in range(4):
        watchdog.heard("talking")
        named += wait(watchdog, clock, 3)
    assert named == ["a"]
    watchdog.forget("talking")
    watchdog.heard("a")  # it begins again, and has its whole time again
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
