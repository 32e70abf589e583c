"""A search in this process, without Ray: one trial after the other, as a test, a plan or a debugger wants it."""

import os
import platform
import traceback
from collections.abc import Callable, Iterator

from tune_app.engine.search import Attempt, Search
from tune_app.machine import cpu_model
from tune_app.task.result import Result

Train = Callable[[Attempt], Iterator[tuple[Result, bytes]]]
"""Trains an attempt at a trial, and gives one result after the other with the training state."""


def run_in_process(search: Search, train: Train, reason: Callable[[], str | None] = lambda: None) -> str | None:
    """Run the trials of `search` until all have ended or there is a `reason` to end, which is returned.

    An exception of `train` fails its trial, as one in a worker does.
    """
    worker = {"node": platform.node(), "pid": os.getpid(), "cpu": cpu_model(), "threads": 1, "device": "cpu"}
    while not search.all_begun:
        attempt = search.next_attempt()
        number = attempt.trial.number
        search.started(number, {**worker, "start_seconds": 0.0})
        try:
            for result, state in train(attempt):
                decision = search.judge(number, result)
                search.add_result(number, result, state, decision)
                if decision.stop:
                    break
                if ended_by := reason():
                    return ended_by
        except Exception:
            search.failed(number, traceback.format_exc())
        if ended_by := reason():
            return ended_by
    return None
