"""What is changed in a controller of Tune, so that workers start soon and are not started twice."""

import time
from typing import Any
from weakref import WeakKeyDictionary

import ray
from ray.tune.experiment import Trial as TuneTrial

SECONDS_FOR_A_WORKER = 120
"""How long one that is starting is waited for, while others are free."""


def prepare(controller: Any, worker: type) -> None:
    """Change a controller that has not begun."""
    # Tune would give each actor an environment of its own, which takes a part of a second to prepare.
    controller._class_cache._cache[worker] = ray.remote(worker)
    wait_for_starting(controller)


def wait_for_starting(controller: Any) -> None:
    """Give a worker that is free to a trial, but not to one whose own worker is being started.

    Tune would end that one, and start another for the next trial: while trials are shorter than a start, they
    would run one after the other. One that has no place to start at, as when a machine was lost, is not waited for.
    """
    reuse = controller._maybe_reuse_cached_actor
    starting: WeakKeyDictionary[TuneTrial, float] = WeakKeyDictionary()

    def reuse_unless_starting(trial: TuneTrial) -> bool:
        own = None if trial in controller._resetting_trials else controller._trial_to_actor.get(trial)
        if own and controller._actor_manager.is_actor_started(own):
            asked_for = starting.setdefault(trial, time.monotonic())
            if time.monotonic() - asked_for < SECONDS_FOR_A_WORKER:
                return False
        return bool(reuse(trial))

    controller._maybe_reuse_cached_actor = reuse_unless_starting
