"""One process's part in a search, from its start to its end: on Ray, or in this process alone."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tune_app.cluster.connect import Where, cluster, import_ray, watched
from tune_app.cluster.dashboard import RayDashboard
from tune_app.cluster.resources import share_of_cpus, wait_for_resources
from tune_app.cluster.signals import interruptible
from tune_app.engine.in_process import Run, trains
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.history import Experiment, History
from tune_app.experiment.settings import Settings
from tune_app.experiment.spec import Paths, Spec
from tune_app.storage.load import load_experiment
from tune_app.storage.mirroring import mirrored

if TYPE_CHECKING:
    from tune_app.task.tutorial.mnist import Mnist

Show = Callable[[History, int], None]
"""Called after every event with what happened so far and the number of trials that the search will have."""


@dataclass(frozen=True)
class Carrier:
    """How this process carries trials out: on Ray, or by itself.

    update: told what happened, and whether that was the last. stay_open: waits, after the search, until a person
    has seen enough.
    """

    run: Run
    update: Callable[[History, bool], None] = lambda _history, _last: None
    stay_open: Callable[[], None] = lambda: None


def load_data(source: str | Path | None, settings: Settings, where: Where) -> "Mnist":
    """Load the images and import Ray if that is needed, after a look at whether a trial fits here at all."""
    if where.in_process and where.address is not None:
        raise TuneAppError("--in-process does without Ray: allowed without --address")
    if where.address is None:
        share_of_cpus(settings)
    from tune_app.task.tutorial import sources

    # One after the other: read beside the import, pyarrow crashes now and then.
    data = sources.load(source)
    if not where.in_process:
        import_ray(where.address)
    return data


def carry_out(
    make_search: Callable[[], Search],
    spec: Spec,
    at: Paths,
    data: "Mnist",
    where: Where,
    announce: Callable[[str], None],
    show: Show,
    completed: Callable[[Search], None] = lambda _search: None,
) -> Experiment:
    """Run what there is to do until all is done or a reason to end comes up, and return the experiment.

    completed: called where all is done, before that is written. Raises `TuneAppError` for a cluster or resources
    that are not there, and where another process has taken the search over.
    """
    with mirrored(at, announce) as copying, carrier(spec, at, data, where, announce, copying.finish) as carried:
        search = make_search()
        try:
            settings = search.spec.settings  # extended, perhaps
            with interruptible() as interrupted:
                deadline = time.monotonic() + (settings.time_budget or math.inf)

                def reason() -> str | None:
                    if interrupted.is_set() or copying.taken_over:
                        return "interrupted"
                    if search.history.on_target:
                        return "target"
                    if search.hopeless:
                        return "error"
                    return "time budget" if time.monotonic() > deadline else None

                def shown() -> None:
                    show(search.history, search.num_trials)
                    carried.update(search.history, False)

                search.begin()
                ended_by = carried.run(search, reason, shown)
                if ended_by is None:
                    completed(search)
                search.end(ended_by or "completed")
                carried.update(search.history, True)
        finally:
            search.close()
        if where.keep_dashboard and ended_by != "interrupted":
            carried.stay_open()
    if copying.taken_over:
        raise TuneAppError(copying.taken_over)
    experiment = load_experiment(at.root.name, at.root.parent)
    return replace(experiment, not_copied=copying.missing)


@contextmanager
def carrier(
    spec: Spec,
    at: Paths,
    data: "Mnist",
    where: Where,
    announce: Callable[[str], None],
    finish: Callable[[], None],
) -> Iterator[Carrier]:
    """Start or join Ray, or do without. finish: called before this process ends since a cluster's head is gone."""
    if where.in_process:
        yield Carrier(trains(data, spec.settings))
        return
    title, again = called(spec, at)
    with cluster(where, {"job_name": title, "space_digest": spec.digest}) as connection:
        from tune_app.trials.bridge import run_trials

        dashboard = RayDashboard(connection, title, spec.metric, announce)
        each = wait_for_resources(where.wait_for_resources, spec.settings, announce)

        def run(search: Search, reason: Callable[[], str | None], show: Callable[[], None]) -> str | None:
            with watched(connection, again, finish):
                return run_trials(search, data, each, reason, show)

        yield Carrier(run, dashboard.update, dashboard.stay_open)


def called(spec: Spec, at: Paths) -> tuple[str, str]:
    """How the dashboard shows what is running, and the command that goes on with it."""
    if spec.confirming is None:
        return at.root.name, f"tune-app resume {at.root.name}"
    search = at.root.parent.name
    return f"{search}: {at.root.name}", f"tune-app confirm {search}"
