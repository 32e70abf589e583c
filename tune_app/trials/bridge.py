"""Where Ray Tune meets `Search`: a search algorithm, a scheduler and a callback that pass on what happens and
carry out what is decided, driven by Tune's own loop. Nothing is decided here.

Tune calls the scheduler, then the callback, then acts: so a result is judged, recorded, and only then
carried out.
"""

import math
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, PlacementGroupFactory, Trainable
from ray.tune.experiment import Experiment
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search.search_algorithm import SearchAlgorithm

from tune_app.cluster.reaper import in_use
from tune_app.cluster.resources import Share, cluster_nodes
from tune_app.engine.asha import Decision
from tune_app.engine.search import OUT_OF_MEMORY, Attempt, Search
from tune_app.task.tutorial.mnist import Mnist
from tune_app.trials.controller import Controller, TuneAttempt
from tune_app.trials.watchdog import Watchdog
from tune_app.trials.worker import TutorialTrial, Work

RAISED = re.compile(rf"^(\x1b\[\S+?m)?ray::{TutorialTrial.__name__}\.\w+\(\)|creation task, ", re.MULTILINE)
"""How the traceback of an exception in the trainable begins, which the text of a worker's death lacks."""

MEMORY = re.compile("OutOfMemoryError|low on memory", re.IGNORECASE)
SECONDS_TO_DESCRIBE = 10
DESCRIPTION = ("node", "pid", "cpu", "threads", "device", "start_seconds")
"""What is known of a worker; nothing of one that dies before it answers."""
SECONDS_BETWEEN_LOOKS = 3.0
"""How often the number of trials at a time is adapted to the cluster."""


def tune_id(number: int, attempt: int) -> str:
    """Tune's id of an attempt at a trial."""
    return f"{number:05d}-{attempt}"


def trial_number(trial: TuneTrial) -> int:
    """The number of the trial that a Tune trial is an attempt at."""
    return int(trial.trial_id.split("-")[0])


class RecordedAlgorithm(SearchAlgorithm):
    """Proposes trials: no more at a time than workers, each written down before Tune hears of it."""

    def __init__(self, search: Search, make: Callable[[Attempt], TuneTrial], concurrent: int) -> None:
        self.search, self.make, self.concurrent = search, make, concurrent
        self.live: set[str] = set()

    def add_configurations(self, experiments: Any) -> None:
        """Tune hands over its experiment; the trials come from `search`."""

    def next_trial(self) -> TuneTrial | None:
        """The next trial, or None while enough are running."""
        if self.is_finished() or not self.search.ready or len(self.live) >= self.concurrent:
            return None
        trial = self.make(self.search.next_attempt())
        self.live.add(trial.trial_id)
        return trial

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Make room for the next."""
        self.live.discard(trial_id)

    def is_finished(self) -> bool:
        """Whether no trial is left to propose."""
        return self._finished or self.search.all_begun


class RecordedScheduler(FIFOScheduler):
    """Judges results, and hands the decision on to the callback that records it."""

    def __init__(self, search: Search) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.search = search
        self.decisions: dict[str, Decision] = {}

    def on_trial_result(self, _controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE."""
        with self.search.stopwatch.on("decide"):
            decision = self.search.judge(trial_number(trial), result)
        self.decisions[trial.trial_id] = decision
        return str(TrialScheduler.STOP if decision.stop else TrialScheduler.CONTINUE)


class RecordingCallback(Callback):
    """Writes down what Tune is about to act on."""

    def __init__(self, search: Search, scheduler: RecordedScheduler, watchdog: Watchdog) -> None:
        self.search, self.scheduler, self.watchdog = search, scheduler, watchdog
        self.hung: set[str] = set()
        self.workers: dict[str, dict[str, Any]] = {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """A worker begins with a trial."""
        actor: Any = trial.temporary_state.ray_actor
        name = actor._actor_id.hex()  # not the handle: an actor lives as long as anyone has one
        if name not in self.workers:
            try:
                self.workers[name] = ray.get(actor.describe.remote(), timeout=SECONDS_TO_DESCRIBE)
            except ray.exceptions.RayError:  # it died, as Tune will say, or hangs, as the watchdog will
                self.workers[name] = dict.fromkeys(DESCRIPTION)
        self.search.started(trial_number(trial), self.workers[name])
        self.watchdog.heard(trial.trial_id)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """A result was judged: record it before the judgement is carried out."""
        decision = self.scheduler.decisions.pop(trial.trial_id)
        self.search.report(trial_number(trial), result, decision)
        del result["state"]  # Tune keeps the last result of every trial
        if decision.stop:
            self.watchdog.forget(trial.trial_id)
        else:
            self.watchdog.heard(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """A trial raised an exception, or its worker died or was ended because it hung."""
        self.watchdog.forget(trial.trial_id)
        with open(trial.error_file) as file:  # noqa: PTH123
            text = file.read()
        if trial.trial_id in self.hung:
            self.search.lost(trial_number(trial), f"no result for {self.watchdog.timeout:g} s", text)
        elif RAISED.search(text):
            self.search.failed(trial_number(trial), text)
        else:
            reason = OUT_OF_MEMORY if MEMORY.search(text) else "its worker died"
            self.search.lost(trial_number(trial), reason, text)

    def end_hanging(self, live: Iterable[TuneTrial]) -> None:
        """End the workers of trials that have been silent for too long: Tune then reports them as failed."""
        hanging = self.watchdog.hanging()
        for trial in live if hanging else ():
            if trial.trial_id in hanging:
                self.hung.add(trial.trial_id)
                end_worker(trial)


def run_trials(
    search: Search,
    data: Mnist,
    share: Share,
    reason: Callable[[], str | None],
    show: Callable[[], None],
) -> str | None:
    """Let Tune run the trials of `search`, with a share each, until all have ended or there is a `reason`.

    Machines that join or leave change how many run at a time. Returns the reason, or None. Raises
    `TuneAppError` where the record can no longer be written.
    """
    settings = search.spec.settings
    resources = PlacementGroupFactory([{"CPU": share.cpus, "GPU": share.gpus}])
    data_ref = ray.put(data)
    # What Tune writes is of no use to anyone; where it goes with Ray's own files, if this process is killed.
    storage = tempfile.mkdtemp(prefix="tune-", dir=in_use[-1] if in_use else None)
    experiment = Experiment(search.spec.name, Trainable, storage_path=storage)  # stands for `TutorialTrial`

    def make(attempt: Attempt) -> TuneTrial:
        work = Work(
            trial=attempt.trial.number,
            metric=settings.metric,
            config=attempt.trial.config,
            seed=attempt.trial.seed,
            max_epochs=attempt.epochs,
            results_per_epoch=settings.results_per_epoch,
            threads=share.threads,
            gpu=share.gpus > 0,
            data=data_ref,
            after=attempt.after,
            state=None if attempt.state is None else ray.put(attempt.state),
        )
        return TuneAttempt(
            experiment.run_identifier,
            config=dict(work),
            trial_id=tune_id(attempt.trial.number, attempt.number),
            storage=experiment.storage,
            placement_group_factory=resources,
        )

    concurrent = min(share.at_once, search.num_trials)
    algorithm = RecordedAlgorithm(search, make, concurrent)
    scheduler = RecordedScheduler(search)
    callback = RecordingCallback(search, scheduler, Watchdog(settings.trial_timeout))
    controller: Any = Controller(algorithm, scheduler, callback, experiment.storage)
    # How many trials Tune stages: with its default of one, workers would wait for each other's successors.
    controller.update_max_pending_trials(concurrent)
    ended_by = None
    looked = time.monotonic()
    try:
        while not controller.is_finished():
            ended_by = reason()
            if ended_by is not None:
                for trial in controller.get_live_trials():
                    end_worker(trial)  # what it was computing is not waited for
                break
            if time.monotonic() - looked > SECONDS_BETWEEN_LOOKS:  # machines may have come or gone
                looked = time.monotonic()
                fitting = min(share.fitting(cluster_nodes().values()), settings.max_concurrent_trials or math.inf)
                algorithm.concurrent = max(1, min(int(fitting), search.num_trials))
                controller.update_max_pending_trials(algorithm.concurrent)
            with search.stopwatch.on("tune"):
                controller.step()
            callback.end_hanging(controller.get_live_trials())
            show()
    except tune.TuneError:
        if search.broken:
            raise search.broken from None
        raise
    finally:
        controller.cleanup()
        shutil.rmtree(storage, ignore_errors=True)
    return ended_by


def end_worker(trial: TuneTrial) -> None:
    """End the worker of a trial at once, if it has one."""
    if trial.temporary_state.ray_actor is not None:
        ray.kill(trial.temporary_state.ray_actor)
