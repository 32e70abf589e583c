"""Where Ray Tune meets `Search`: a search algorithm, a scheduler and a callback that pass on what happens and
carry out what is decided, driven by Tune's own loop. Nothing is decided here.

Tune calls the scheduler, then the callback, then acts: so a result is judged, recorded, and only then
carried out.
"""

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import ray
from ray import tune
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Experiment
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search.search_algorithm import SearchAlgorithm

from tune_app.cluster.process import variables
from tune_app.cluster.ray_private import (
    end_worker,
    lost_is_an_actor_error,
    plain_workers,
    starting_once,
)
from tune_app.cluster.reaper import in_use
from tune_app.cluster.resources import Share, cluster_nodes
from tune_app.engine.asha import Decision, judged
from tune_app.engine.hopeless import OUT_OF_MEMORY
from tune_app.engine.search import Attempt, Search
from tune_app.experiment.spec import Spec
from tune_app.storage.bucket import SECRETS
from tune_app.trials.watchdog import Watchdog
from tune_app.trials.worker import MESSAGE, WORK, Failed, Started, Trained, TrialWorker, Work

ATTEMPTS_PER_CONTROLLER = 1000
"""Then another takes over, with new workers: Tune keeps trials that have ended, and looks at all at each step."""
SECONDS_BETWEEN_LOOKS = 3.0
"""How often the number of trials at a time is adapted to the cluster."""


def trial_number(trial: TuneTrial) -> int:
    """The number of the trial that a Tune trial is an attempt at, whose id is NUMBER-ATTEMPT."""
    return int(trial.trial_id.split("-")[0])


class TuneAttempt(TuneTrial):
    """An attempt at a trial, as Tune knows it."""

    error: Exception | None = None
    """The error that Ray raised, if it did."""

    def handle_error(self, exc: Any = None) -> None:
        """Keep the error itself: Tune writes out its text."""
        self.error = exc
        super().handle_error(exc)


class RecordedAlgorithm(SearchAlgorithm):
    """Proposes trials: no more at a time than workers, each written down before Tune hears of it.

    It is finished after `ATTEMPTS_PER_CONTROLLER`, too.
    """

    def __init__(self, search: Search, make: Callable[[Attempt], TuneTrial], concurrent: int) -> None:
        self.search, self.make, self.concurrent = search, make, concurrent
        self.left = ATTEMPTS_PER_CONTROLLER
        self.live: set[str] = set()

    def add_configurations(self, experiments: Any) -> None:
        """Tune hands over its experiment; the trials come from `search`."""

    def next_trial(self) -> TuneTrial | None:
        """The next trial, or None while enough are running."""
        if self.is_finished() or not self.search.ready or len(self.live) >= self.concurrent:
            return None
        trial = self.make(self.search.next_attempt())
        self.live.add(trial.trial_id)
        self.left -= 1
        return trial

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Make room for the next."""
        self.live.discard(trial_id)

    def is_finished(self) -> bool:
        """Whether no trial is left to propose."""
        return self._finished or self.left <= 0 or self.search.all_begun


class RecordedScheduler(FIFOScheduler):
    """Judges results, and hands the decision on to the callback that records it."""

    def __init__(self, search: Search) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.search = search
        self.decisions: dict[str, Decision] = {}

    def on_trial_result(self, _controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE. After a failure a trial goes on, to the error that ends its worker."""
        message = result[MESSAGE]
        if not isinstance(message, Trained):
            return str(TrialScheduler.CONTINUE)
        decision = self.search.judge(trial_number(trial), message.result)
        self.decisions[trial.trial_id] = decision
        return str(TrialScheduler.STOP if decision.stop else TrialScheduler.CONTINUE)


class RecordingCallback(Callback):
    """Writes down what Tune is about to act on."""

    def __init__(self, search: Search, watchdog: Watchdog) -> None:
        self.search, self.watchdog = search, watchdog
        self.scheduler = RecordedScheduler(search)
        self.hung: set[str] = set()
        self.failed: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """A worker has a trial, and will say when it begins."""
        self.watchdog.heard(trial.trial_id)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """A worker began, trained or failed: record it before it is acted on."""
        number = trial_number(trial)
        self.watchdog.heard(trial.trial_id)
        match result.pop(MESSAGE):  # Tune keeps the last result of every trial
            case Started(worker):
                self.search.started(number, worker)
            case Failed(text, data_changed):
                self.failed.add(trial.trial_id)
                self.search.failed(number, text, data_changed)
            case Trained() as trained:
                decision = self.scheduler.decisions.pop(trial.trial_id)
                state = None if trained.state is None else trained.state.data
                self.search.add_result(number, trained.result, state, decision)
                if decision.stop:
                    self.watchdog.forget(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """A worker died, was ended because it hung or its trial failed, or could not begin."""
        self.watchdog.forget(trial.trial_id)
        if trial.trial_id in self.failed:
            return
        number, error = trial_number(trial), cast(TuneAttempt, trial).error
        if trial.trial_id in self.hung:
            self.search.lost(number, f"no result for {self.watchdog.timeout:g} s", str(error))
        elif isinstance(error, RayTaskError) or (isinstance(error, RayActorError) and error.actor_init_failed):
            self.search.failed(number, str(error))
        else:
            of_memory = any(isinstance(e, OutOfMemoryError) for e in (error, error and error.__cause__))
            reason = OUT_OF_MEMORY if of_memory else "its worker died"
            self.search.lost(number, reason, str(error))

    def end_hanging(self, live: Iterable[TuneTrial]) -> None:
        """End the workers of trials that have been silent for too long: Tune then reports them as failed."""
        hanging = self.watchdog.hanging()
        for trial in live if hanging else ():
            if trial.trial_id in hanging:
                self.hung.add(trial.trial_id)
                end_worker(trial)


def run_trials(
    search: Search,
    data: Any,
    share: Share,
    reason: Callable[[], str | None],
    show: Callable[[], None],
) -> str | None:
    """Let Tune run the trials of `search`, with a share each, until all have ended or there is a `reason`.

    data: where in the object store what the task's `load` returned is. Machines that join or leave change how many
    run at a time. Returns the reason, or None. Raises `TuneAppError` where the record can no longer be written.
    """
    task = ray.put(search.spec.task)
    # What Tune writes is of no use to anyone; where it goes with Ray's own files, if this process is killed.
    storage = tempfile.mkdtemp(prefix="tune-", dir=in_use[-1] if in_use else None)
    experiment = Experiment(search.spec.name, TrialWorker, storage_path=storage)
    resources = PlacementGroupFactory([{"CPU": share.cpus, "GPU": share.gpus}])

    def make(attempt: Attempt) -> TuneTrial:
        return TuneAttempt(
            experiment.run_identifier,
            config={WORK: work_of(attempt, search.spec, share, task, data)},
            trial_id=f"{attempt.trial.number:05d}-{attempt.number}",
            storage=experiment.storage,
            placement_group_factory=resources,
        )

    ended_by = None
    try:
        while ended_by is None and not search.all_begun:
            ended_by = reason() or run_row(search, make, share, experiment.storage, reason, show)
    except tune.TuneError:
        if search.broken:
            raise search.broken from None
        raise
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    return ended_by


def work_of(attempt: Attempt, spec: Spec, share: Share, task: Any, data: Any) -> Work:
    """An attempt as a worker takes it. task, data: where they are in the object store."""
    settings = spec.settings
    return Work(
        trial=attempt.trial.number,
        metric=spec.metric.name,
        config=attempt.trial.config,
        seed=attempt.trial.seed,
        until=attempt.epochs,
        epochs=spec.whole_epochs,
        results_per_epoch=settings.results_per_epoch,
        judged=judged(settings),
        threads=settings.threads,
        gpu=share.gpus > 0,
        task=task,
        data=data,
        after=attempt.after,
        state=None if attempt.state is None else ray.put(np.frombuffer(attempt.state, np.uint8)),
    )


def run_row(
    search: Search,
    make: Callable[[Attempt], TuneTrial],
    share: Share,
    storage: Any,
    reason: Callable[[], str | None],
    show: Callable[[], None],
) -> str | None:
    """Let one controller of Tune run a row of attempts. Returns the reason to end, or None."""
    algorithm = RecordedAlgorithm(search, make, min(share.at_once, search.num_trials))
    callback = RecordingCallback(search, Watchdog(search.spec.settings.trial_timeout))
    controller = controller_of(algorithm, callback, storage)
    without_keys = nullcontext() if plain_workers(controller, TrialWorker) else keys_away()
    # How many trials Tune stages: with its default of one, workers would wait for each other's successors.
    controller.update_max_pending_trials(algorithm.concurrent)
    looked = time.monotonic()
    with starting_once(), lost_is_an_actor_error(), ExitStack() as at_the_end:
        at_the_end.callback(controller.cleanup)
        with without_keys:
            controller.step()  # asks for a worker, and so makes what all workers are made from
        while not controller.is_finished():
            if ended_by := reason():
                for trial in controller.get_live_trials():
                    end_worker(trial)  # what it was computing is not waited for
                return ended_by
            if time.monotonic() - looked > SECONDS_BETWEEN_LOOKS:  # machines may have come or gone
                looked, algorithm.concurrent = time.monotonic(), at_once(search, share)
                controller.update_max_pending_trials(algorithm.concurrent)
            controller.step()
            callback.end_hanging(controller.get_live_trials())
            show()
    return None


def controller_of(algorithm: RecordedAlgorithm, callback: RecordingCallback, storage: Any) -> Any:
    """Tune's controller, which takes several results of a worker at once, and keeps nothing of its own."""
    with variables({"TUNE_RESULT_BUFFER_LENGTH": "1000"}):
        controller = TuneController(
            search_alg=algorithm,
            scheduler=callback.scheduler,
            callbacks=[callback],
            storage=storage,
            reuse_actors=True,
            checkpoint_period=sys.maxsize,
        )
    controller.checkpoint()  # nobody reads these: so one, of nothing, and never again
    return controller


def at_once(search: Search, share: Share) -> int:
    """How many trials the cluster has room for now."""
    most = min(search.num_trials, search.spec.settings.max_concurrent_trials or math.inf)
    return max(1, int(min(share.fitting(cluster_nodes().values()), most)))


@contextmanager
def keys_away() -> Iterator[None]:
    """Within the block, AWS keys are not in the environment, which Tune would copy to where Ray logs it."""
    keys = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(keys)
