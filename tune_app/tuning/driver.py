"""One search from start to end: load MNIST, start Ray, let Tune run the trials, write down how it ended."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune_app.errors import TuneAppError
from tune_app.experiment.history import FAILED, Experiment, History, load_experiment
from tune_app.experiment.record import refuse_existing
from tune_app.experiment.space import SpaceSource
from tune_app.experiment.spec import DataSource, Paths, Spec
from tune_app.machine import versions
from tune_app.tuning.cluster import cluster, cluster_resources, import_ray, this_machine

if TYPE_CHECKING:
    from tune_app.tutorial.mnist import Mnist

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
    refuse_existing(paths.root)
    if where.address is None:
        this_machine().trials_at_once(source.settings)
    from tune_app.tutorial import mnist

    # The images load while Ray is imported, but not while it starts: on a busy machine that takes longer
    # by whole seconds, since Ray looks only once a second whether it has.
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(mnist.load, where.data)
        import_ray()
        data = loading.result()
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
        search_with_ray(spec, paths, data, show)
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


def search_with_ray(spec: Spec, paths: Paths, data: "Mnist", show: Show) -> None:
    """Create the experiment and run its trials on the connected cluster until a reason to end comes up."""
    from tune_app.tuning.bridge import run_trials
    from tune_app.tuning.search import Search

    settings = spec.settings
    fitting = cluster_resources().trials_at_once(settings)
    search = Search(spec, paths)
    try:
        with interruptible() as interrupted:
            deadline = time.monotonic() + (settings.time_budget or math.inf)

            def reason() -> str | None:
                best = search.history.best
                if interrupted.is_set():
                    return "interrupted"
                if best and settings.reaches_target(best[settings.metric]):
                    return "target"
                return "time budget" if time.monotonic() > deadline else None

            search.begin()
            concurrent = min(fitting, search.num_trials)
            ended_by = run_trials(search, data, concurrent, reason, lambda: show(search.history, search.num_trials))
            search.end(ended_by or "completed")
    finally:
        search.close()


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
