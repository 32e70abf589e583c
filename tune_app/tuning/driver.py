"""One search from start to end: load MNIST, start Ray, let Tune run the trials, write down how it ended."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune_app.errors import TuneAppError
from tune_app.experiment.history import FAILED, Experiment, History, load_experiment
from tune_app.experiment.space import SpaceSource
from tune_app.experiment.spec import DataSource, Paths, Spec
from tune_app.machine import versions
from tune_app.tuning.cluster import cluster, cluster_resources, this_machine

if TYPE_CHECKING:
    from tune_app.tutorial.mnist import Mnist

CONCURRENCY = "TUNE_MAX_PENDING_TRIALS_PG"
"""How many trials Tune stages; with its default of one, a search algorithm of our own waits for workers."""

Show = Callable[[History, int], None]
"""Called after every event with what happened so far and the number of trials that the search will have."""


@dataclass(frozen=True)
class Where:
    """Where a search runs and where its data come from."""

    data: str | None = None
    address: str | None = None
    dashboard: bool = True
    verbose: bool = False


def run(source: SpaceSource, paths: Paths, where: Where, announce: Callable[[str], None], show: Show) -> Experiment:
    """Search a space and return the experiment. Nothing is left behind where it cannot start.

    Raises `TuneAppError` for data, resources or a cluster that are not there. A first SIGINT or SIGTERM ends
    the search; its reason then is "interrupted".
    """
    if where.address is None:
        this_machine().trials_at_once(source.settings)
    from tune_app.tutorial import mnist

    # One after the other: Ray's start is no quicker with a busy machine, and waits in whole seconds.
    data = mnist.load(where.data)
    spec = Spec(
        name=paths.root.name,
        space=source.content,
        settings=source.settings,
        data=DataSource(source=where.data, digest=data.digest(), train=len(data.train.x), valid=len(data.valid.x)),
        versions=versions(),
    )
    check_batches(source, spec)
    with cluster(where.address, where.dashboard, where.verbose) as dashboard:
        if dashboard:
            announce(f"Ray dashboard: {dashboard}")
        search_with_tune(spec, paths, data, show)
    return load_experiment(paths.root.name, paths.root.parent)


def check_batches(source: SpaceSource, spec: Spec) -> None:
    """Refuse a batch size that leaves fewer batches in an epoch than results."""
    most = spec.data.train // source.settings.results_per_epoch
    largest = max((d.largest for d in source.space.dimensions if d.name == "bs"), default=0)
    if largest > most:
        raise TuneAppError(
            f"space.bs goes up to {largest:g}, but {spec.data.train} images and"
            f" {source.settings.results_per_epoch} results per epoch allow at most {most}"
        )


def search_with_tune(spec: Spec, paths: Paths, data: "Mnist", show: Show) -> None:
    """Create the experiment and run its trials with Ray Tune until a reason to end comes up."""
    import ray
    from ray import tune
    from ray.tune.experiment import Experiment as TuneExperiment
    from ray.tune.experiment import Trial as TuneTrial

    from tune_app.experiment.history import Trial
    from tune_app.tuning import bridge
    from tune_app.tuning.search import Search
    from tune_app.tuning.trainable import TutorialTrial, Work

    settings = spec.settings
    fitting = cluster_resources().trials_at_once(settings)
    search = Search(spec, paths)
    concurrent = min(fitting, search.num_trials)
    os.environ[CONCURRENCY] = str(concurrent)
    deadline = time.monotonic() + settings.time_budget if settings.time_budget else None
    data_ref = ray.put(data)
    storage = tempfile.mkdtemp(prefix="tune-app-tune-")  # what Tune writes is of no use to anyone
    experiment = TuneExperiment(name=spec.name, run=TutorialTrial, storage_path=storage)

    def make(trial: Trial) -> TuneTrial:
        work = Work(
            config=trial.config,
            seed=trial.seed,
            max_epochs=settings.max_epochs,
            results_per_epoch=settings.results_per_epoch,
            threads=max(1, int(settings.cpus_per_trial)),
            gpu=settings.gpus_per_trial > 0,
            data=data_ref,
        )
        return TuneTrial(
            experiment.run_identifier,
            config=dict(work),
            trial_id=bridge.tune_id(trial.number, 0),
            storage=experiment.storage,
            placement_group_factory=tune.PlacementGroupFactory(
                [{"CPU": settings.cpus_per_trial, "GPU": settings.gpus_per_trial}]
            ),
            max_failures=0,
        )

    with interruptible() as interrupted:

        def reason() -> str | None:
            best = search.history.best
            if interrupted.is_set():
                return "interrupted"
            if best and settings.target is not None and not settings.better(settings.target, best[settings.metric]):
                return "target"
            if deadline and time.monotonic() > deadline:
                return "time budget"
            return None

        scheduler = bridge.RecordedScheduler(search)
        try:
            search.begin()
            tune.run(
                experiment,  # type: ignore[arg-type]  # Tune takes one, its annotation does not say so
                search_alg=bridge.RecordedAlgorithm(search, make, concurrent),
                scheduler=scheduler,
                stop=bridge.SearchStopper(reason),
                callbacks=[
                    bridge.RecordingCallback(search, scheduler, lambda: show(search.history, search.num_trials))
                ],
                reuse_actors=True,
                raise_on_failed_trial=False,
                verbose=0,
            )
            search.end(reason() or "completed")
        finally:
            search.close()
            shutil.rmtree(storage, ignore_errors=True)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second is a KeyboardInterrupt."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def interrupt(signum: int, frame: object) -> None:  # noqa: ARG001
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def succeeded(experiment: Experiment) -> bool:
    """Whether at least one trial did not fail."""
    return any(trial.results and trial.state != FAILED for trial in experiment.history.trials)
