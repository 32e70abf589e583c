"""Where the time of a search went."""

from typing import Any

import pytest

from tune_app.output.times import (
    ABSENT,
    IN_TUNE,
    STARTING,
    TRAINING,
    VALIDATING,
    WAITING,
    WRITING,
    accounts,
    unexplained_share,
)


def search(time: float, event: str = "started", **more: Any) -> dict[str, Any]:
    return {"kind": "search", "time": time, "event": event, "host": "here", "pid": 1, **more}


def started(time: float, trial: int, pid: int, attempt: int = 0, start_seconds: float = 2) -> dict[str, Any]:
    who = {"node": "there", "pid": pid, "start_seconds": start_seconds}
    return {"kind": "started", "time": time, "trial": trial, "attempt": attempt, **who}


def result(time: float, trial: int, attempt: int = 0, **more: Any) -> dict[str, Any]:
    worker = {"start_seconds": 0.5, "train_seconds": 2.0, "valid_seconds": 1.0, "wait_seconds": 0.25}
    driver = {"decide_seconds": 0.0, "write_seconds": 0.5, "tune_seconds": 3.0}
    return {"kind": "result", "time": time, "trial": trial, "attempt": attempt, **worker, **driver, **more}


def test_every_second_of_a_worker_is_one_thing_or_unexplained() -> None:
    entries = [search(100), started(103, 0, 7), result(107, 0), result(111, 0), search(113, "ended")]
    driver, worker = accounts(entries)
    assert worker.parts == {ABSENT: 1 + 2, STARTING: 2 + 1, TRAINING: 4, VALIDATING: 2, WAITING: 0.5}
    assert worker.unexplained == pytest.approx(13 - 12.5)
    assert (driver.parts[WRITING], driver.parts[IN_TUNE]) == (1, 6)
    assert driver.unexplained == 13 - 7
    assert unexplained_share([driver, worker]) == pytest.approx(6.5 / (13 + 10))


def test_a_worker_that_takes_another_trial_stays_one_process() -> None:
    entries = [search(0), started(3, 0, 7), result(7, 0), started(8, 1, 7), result(12, 1), started(12, 2, 8)]
    found = accounts(entries)
    assert [(account.who, account.pid) for account in found] == [("driver 1", 1), ("worker 1", 7), ("worker 2", 8)]
    assert found[1].parts[STARTING] == 2 + 1
    assert found[2].parts == {ABSENT: 10, STARTING: 2}


def test_what_a_lost_worker_computed_in_vain_is_unexplained_until_its_last_result() -> None:
    entries = [search(0), started(2, 0, 7), result(6, 0), {"kind": "lost", "time": 30}, search(31, "ended")]
    worker = accounts(entries)[1]
    assert worker.parts[ABSENT] == 31 - 6


def test_a_worker_of_which_nothing_is_known_has_no_account() -> None:
    nobody = {"node": None, "pid": None, "start_seconds": None}
    entries = [search(0), {**started(1, 0, 7), **nobody}, result(2, 0)]
    assert [account.who for account in accounts(entries)] == ["driver 1"]


def test_a_resumed_search_has_two_drivers_and_the_time_between_is_nobodys() -> None:
    entries = [search(0), started(2, 0, 7), result(6, 0), search(1000), started(1002, 0, 9, 1), result(1006, 0, 1)]
    found = accounts(entries)
    assert [account.who for account in found] == ["driver 1", "worker 1", "driver 2", "worker 2"]
    assert [account.end - account.begin for account in found] == [6, 6, 6, 6]
    assert all(account.parts[TRAINING] == 2 for account in found if account.who.startswith("worker"))


def test_a_record_of_a_search_that_has_not_begun_has_no_accounts() -> None:
    assert accounts([{"kind": "created", "time": 0}]) == []
    assert unexplained_share([]) == 0
