"""Tune's own loop and its actors, without what a search does not use of them."""

import math
import time
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakKeyDictionary

import ray
from ray.actor import ActorClass
from ray.air.execution import ResourceRequest
from ray.air.execution._internal import RayActorManager, TrackedActor
from ray.train._internal.storage import StorageContext
from ray.tune import Callback, Trainable
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search.search_algorithm import SearchAlgorithm

from tune_app.trials.worker import TutorialTrial, Work

SECONDS_FOR_A_WORKER = 120
"""How long one that is starting is waited for, while others are free."""


class TuneAttempt(TuneTrial):
    """An attempt at a trial, as Tune knows it."""

    def set_ray_actor(self, ray_actor: Any) -> None:
        """Note which worker has it. Tune would also ask that for metrics of its own, at each trial."""
        self.temporary_state.ray_actor = ray_actor


class Workers(RayActorManager):
    """Gives a worker its `Work` and nothing of what Tune adds, for which the worker would have to import Tune."""

    def add_actor(
        self,
        cls: type[Any] | ActorClass[Any],
        kwargs: dict[str, Any],
        resource_request: ResourceRequest,
        *,
        on_start: Callable[[TrackedActor], None] | None = None,
        on_stop: Callable[[TrackedActor], None] | None = None,
        on_error: Callable[[TrackedActor, Exception], None] | None = None,
    ) -> TrackedActor:
        """Start a worker with its first trial."""
        work = {"work": work_in(kwargs["config"])}
        return super().add_actor(cls, work, resource_request, on_start=on_start, on_stop=on_stop, on_error=on_error)

    def schedule_actor_task(
        self,
        tracked_actor: TrackedActor,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        on_result: Callable[[TrackedActor, Any], None] | None = None,
        on_error: Callable[[TrackedActor, Exception], None] | None = None,
        _return_future: bool = False,
    ) -> ray.ObjectRef[Any] | None:
        """Call a method of a worker."""
        if method_name == "reset" and args:
            args, kwargs = (work_in(args[0]),), None
        return super().schedule_actor_task(
            tracked_actor, method_name, args, kwargs, on_result, on_error, _return_future
        )


def work_in(config: dict[str, Any]) -> Work:
    """What Tune was given for a worker, without what Tune added."""
    return cast(Work, {key: config[key] for key in Work.__annotations__})


class Controller(TuneController):
    """Tune's own loop without what the record replaces, and with workers that start soon and are not started twice.

    What the record replaces are snapshots, and the trials that have ended: one takes 37 kB, and each event looks
    at all of them.
    """

    def __init__(
        self,
        algorithm: SearchAlgorithm,
        scheduler: TrialScheduler,
        callback: Callback,
        storage: StorageContext,
    ) -> None:
        super().__init__(
            search_alg=algorithm, scheduler=scheduler, callbacks=[callback], storage=storage, reuse_actors=True
        )
        self._buffer_length = 1  # whatever the environment says: each result is judged before the next is trained
        self._actor_manager = Workers(self._actor_manager._resource_manager)
        # Tune would give each actor an environment of its own, which takes a part of a second to prepare.
        self._class_cache: Any = {Trainable: ray.remote(TutorialTrial)}
        self.starting: WeakKeyDictionary[TuneTrial, float] = WeakKeyDictionary()
        """Since when a worker is being started for a trial, in seconds of the monotonic clock."""

    def _schedule_trial_actor(self, trial: TuneTrial) -> None:
        """Note when a worker is asked for."""
        self.starting[trial] = time.monotonic()
        super()._schedule_trial_actor(trial)

    def _maybe_reuse_cached_actor(self, trial: TuneTrial) -> bool:
        """Give a worker that is free to a trial, but not to one whose own worker is being started.

        Tune would end that one, and start another for the next trial: while trials are shorter than a start, they
        would run one after the other. One that has no place to start at, as when a machine was lost, is not waited
        for.
        """
        own = None if trial in self._resetting_trials else self._trial_to_actor.get(trial)
        asked_for = time.monotonic() - self.starting[trial] if own else math.inf
        if own and self._actor_manager.is_actor_started(own) and asked_for < SECONDS_FOR_A_WORKER:
            return False
        return bool(super()._maybe_reuse_cached_actor(trial))

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Write nothing: the record holds everything, and nobody reads snapshots."""

    def on_step_end(self) -> None:
        """Let go of the trials that have ended."""
        super().on_step_end()  # type: ignore[no-untyped-call]
        ended = self._stopped_trials | self._failed_trials
        if ended:
            self._trials = [trial for trial in self._trials if trial not in ended]
            for trials in (self._stopped_trials, self._failed_trials, self._trials_to_cache):
                trials -= ended
