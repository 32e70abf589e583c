"""A search in this process from start to end, with its trials on Ray or in this process, too."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tune_app.cluster.connect import Where, cluster, import_ray
from tune_app.cluster.dashboard import RayDashboard
from tune_app.cluster.lookout import lookout
from tune_app.cluster.resources import share_of_cpus, wait_for_resources
from tune_app.cluster.signals import interruptible
from tune_app.engine.in_process import Run, device_of, train_here
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.history import History
from tune_app.experiment.spec import Paths, Spec
from tune_app.storage.load import load_experiment
from tune_app.storage.mirroring import Copying, mirrored
from tune_app.task.loading import Loaded, Tested, load, tested
from tune_app.task.task import Config

Test = Callable[[Config, int, int, bytes], Tested | None]
"""Measures a state on the test data, if there are any.

It takes the config, the epochs of a whole training, the seed and the state.
"""
Show = Callable[[History, int], None]
"""Called after every event with the history and the number of trials that the search will have."""


@dataclass(frozen=True)
class Caller:
    """Who asks for a search.

    where: it is to run. announce: tells them something in a line. show: shows them what happened. run_its_code: the
    task is somebody else's, they have read it, and its code may run.
    """

    where: Where
    announce: Callable[[str], None]
    show: Show
    run_its_code: bool = False


@dataclass(frozen=True)
class Carrier:
    """The means by which this process carries trials out: on Ray, or by itself.

    load: brings the data to the trials; None is for a worker to load. test: measures a state on the test data.
    update: gets the history, and True at the end. stay_open: waits after the search until a signal.
    """

    load: Callable[[Loaded | None], Loaded]
    run: Run
    test: Test
    update: Callable[[History, bool], None] = lambda _history, _last: None
    stay_open: Callable[[], None] = lambda: None


def carry_out(
    checked: Callable[[Loaded], Spec],
    make_search: Callable[[Spec], Search],
    spec: Spec,
    at: Paths,
    caller: Caller,
    completed: Callable[[Search, Test], None] = lambda _search, _test: None,
) -> Experiment:
    """Run what there is to do until all is done or a reason to end comes up, and return the experiment.

    spec: as far as it is known without the data. checked: gives the whole spec, and refuses data that do not fit.
    completed: called when all is done, before that is written. Raises `TuneAppError` for missing data, cluster or
    resources, and where another process has taken the search over.
    """
    where = caller.where
    early = load_here(spec, caller)
    if early:
        spec = checked(early)
    if not where.in_process:
        import_ray(where.address)
    with mirrored(at, caller.announce) as copying, carrier(spec, at, caller, copying.finish) as carried:
        loaded = carried.load(early)
        if not early:
            tell(loaded, caller)
            spec = checked(loaded)
        with closing(make_search(spec)) as search:
            ended_by = search_out(search, loaded.content, carried, copying, caller.show, completed)
        if where.keep_dashboard and ended_by != "interrupted":
            carried.stay_open()
    if copying.taken_over:
        raise TuneAppError(copying.taken_over)
    experiment = load_experiment(at.root.name, at.root.parent)
    return replace(experiment, not_copied=copying.missing)


def search_out(
    search: Search,
    content: Any,
    carried: Carrier,
    copying: Copying,
    show: Show,
    completed: Callable[[Search, Test], None],
) -> str | None:
    """Search until all is done or a reason to end comes up. Returns the reason, or None."""
    with interruptible() as interrupted:
        # Extended, perhaps, so not the spec's settings.
        deadline = time.monotonic() + (search.spec.settings.time_budget or math.inf)

        def reason() -> str | None:
            if interrupted.is_set() or copying.taken_over:
                return "interrupted"
            if search.spoiled:
                return "changed data"
            if search.hopeless:
                return "error"
            if search.history.on_target:
                return "target"
            if search.history.out_of_patience:
                return "patience"
            return "time budget" if time.monotonic() > deadline else None

        def shown() -> None:
            show(search.history, search.num_trials)
            carried.update(search.history, False)

        search.begin()
        shown()
        ended_by = carried.run(search, content, reason, shown)
        if ended_by is None:
            completed(search, carried.test)
        search.end(ended_by or "completed")
        shown()
        carried.update(search.history, True)
    return ended_by


@contextmanager
def carrier(spec: Spec, at: Paths, caller: Caller, finish: Callable[[], None]) -> Iterator[Carrier]:
    """Start or join Ray, or do without. finish: called before this process ends since a cluster's head is gone."""
    where, announce = caller.where, caller.announce
    if where.in_process:
        test = partial(tested, spec.task, spec.data.source, spec.home)
        yield Carrier(loaded_here, partial(train_here, device_of(spec.settings)), test)
        return
    title, again = title_and_command(spec, at)
    with cluster(where, {"job_name": title, "space_digest": spec.digest}, bool(spec.task.files)) as connection:
        from tune_app.trials.bridge import run_trials
        from tune_app.trials.by_worker import on_ray, tested_on_ray

        dashboard = RayDashboard(connection, title, spec.metric, announce)
        own = bool(spec.task.files)
        each = wait_for_resources(where.wait_for_resources, spec.settings, announce, whole_gpu=own)

        def run(
            search: Search, data: Any, reason: Callable[[], str | None], show: Callable[[], None]
        ) -> str | None:
            with lookout(connection.head, again, finish) if connection.head else nullcontext():
                return run_trials(search, data, each, reason, show)

        yield Carrier(
            partial(on_ray, spec), run, partial(tested_on_ray, spec), dashboard.update, dashboard.stay_open
        )


def load_here(spec: Spec, caller: Caller) -> Loaded | None:
    """Load the data in this process, None where a worker is to load them; `TuneAppError` if no trial fits here.

    The code of a task of one's own does not run in the driver, unless all runs in one process.
    """
    where = caller.where
    if where.in_process and where.address is not None:
        raise TuneAppError("--in-process does without Ray: allowed without --address")
    if where.address is None:
        share_of_cpus(spec.settings)
    if spec.task.files and not where.in_process:
        return None
    loaded = load(spec.task, spec.data.source, spec.home)
    tell(loaded, caller)
    return loaded


def tell(loaded: Loaded, caller: Caller) -> None:
    """Tell the caller what `load` warned of."""
    for text in loaded.told:
        caller.announce(text)


def loaded_here(loaded: Loaded | None) -> Loaded:
    """The data, which this process has loaded and trains on itself."""
    assert loaded is not None
    return loaded


def title_and_command(spec: Spec, at: Paths) -> tuple[str, str]:
    """The title in the dashboard, and the command that goes on with the search."""
    if spec.confirming is None:
        return at.root.name, f"tune-app resume {at.root.name}"
    search = at.root.parent.name
    return f"{search}: {at.root.name}", f"tune-app confirm {search}"
