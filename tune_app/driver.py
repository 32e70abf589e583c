"""One search from start to end: load MNIST, start Ray, let Tune run the trials, write down how it ended."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tune_app.cluster.connect import Where, cluster, import_ray, watched
from tune_app.cluster.dashboard import RayDashboard
from tune_app.cluster.resources import share_of_cpus, wait_for_resources
from tune_app.cluster.signals import interruptible, terminable
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.history import FAILED, FINISHED, Experiment, History
from tune_app.experiment.record import refuse_existing
from tune_app.experiment.settings import Settings, check_settings
from tune_app.experiment.space import SpaceSource
from tune_app.experiment.spec import DataSource, Paths, Spec
from tune_app.machine import versions
from tune_app.storage.load import load_experiment
from tune_app.storage.location import searched_here
from tune_app.storage.mirror import refuse_existing_copy
from tune_app.storage.mirroring import mirrored
from tune_app.task.levels import TUTORIAL_CONFIG, Config
from tune_app.task.metric import METRICS

if TYPE_CHECKING:
    from tune_app.task.tutorial.mnist import Mnist

DECISIVE = ("python", "torch", "optuna", "numpy")
"""Versions on which a search's configs and numbers depend."""

BUDGETS = ("num_samples", "time_budget")

Show = Callable[[History, int], None]
"""Called after every event with what happened so far and the number of trials that the search will have."""


def run(
    source: SpaceSource,
    enqueued: Sequence[Config],
    paths: Paths,
    where: Where,
    announce: Callable[[str], None],
    show: Show,
) -> Experiment:
    """Search a space, `enqueued` configs first, and return the experiment. Nothing stays where it cannot start.

    Raises `TuneAppError` for data, resources or a cluster that are not there. A first SIGINT or SIGTERM ends
    the search; its reason then is "interrupted".
    """
    refuse_existing_copy(paths)
    refuse_existing(paths.root)
    with terminable():
        data = load_data_and_ray(where.data, source.settings, where)
        check_classes(data, where.data, announce)
        images = DataSource(
            source=None if where.data is None else str(where.data),
            digest=data.digest(),
            train=len(data.train.x),
            valid=len(data.valid.x),
        )
        spec = Spec(
            name=paths.root.name,
            space=source.content,
            settings=source.settings,
            data=images,
            versions=versions(),
            enqueued=tuple(enqueued),
        )
        check_batches(source, spec)
        return search_on_cluster(lambda: Search.create(spec, paths), spec, paths, data, where, announce, show)


def resume(experiment: Experiment, where: Where, announce: Callable[[str], None], show: Show) -> Experiment:
    """Go on with a search that was interrupted in any way, and return the experiment.

    Raises `TuneAppError` where it is being searched or has nothing left to do, and where the data or the
    versions are not those that it began with.
    """
    require_free(experiment)
    if experiment.state == FINISHED:
        raise TuneAppError(f"{experiment.name}: is finished; tune-app extend gives it a larger budget")
    return go_on(experiment, {}, where, announce, show)


def extend(
    experiment: Experiment,
    budget: Mapping[str, object],
    where: Where,
    announce: Callable[[str], None],
    show: Show,
) -> Experiment:
    """Go on with a larger budget (`num_samples` in all, or `time_budget`), and return the experiment.

    A target that was reached no longer ends it. Raises `TuneAppError` where the budget is not larger, and
    where `resume` does.
    """
    require_free(experiment)
    history, name = experiment.history, experiment.name
    settings = history.spec.settings
    other = [key for key in budget if key not in BUDGETS]
    if other or not budget:
        raise TuneAppError(
            f"{name}: {other[0] if other else 'no budget'} is no budget, allowed: {', '.join(BUDGETS)}"
        )
    changed = check_settings(settings.model_dump(), budget, name)
    if "num_samples" in budget:
        if history.spec.search_space().is_grid:
            raise TuneAppError(f"{name}: is a grid, which tries each of its points once; allowed: --time-budget")
        if changed.num_samples <= settings.num_samples:
            raise TuneAppError(
                f"--num-samples is {changed.num_samples}, allowed: more than the {settings.num_samples} trials"
                f" that {name} has in all"
            )
    elif history.end and history.end["reason"] == "completed":
        raise TuneAppError(f"{name}: all its trials have ended, so time alone adds nothing; allowed: --num-samples")
    extension = {key: getattr(changed, key) for key in budget}
    if history.best and settings.reaches_target(history.best[settings.metric]):
        extension["target"] = None
        announce(f"The target {settings.target:g} was reached; the search goes on without one.")
    return go_on(experiment, extension, where, announce, show)


def require_free(experiment: Experiment) -> None:
    """Raise `TuneAppError` that says who is searching the experiment, if someone is.

    Of one in a bucket, `mirrored` says that, and when it can be taken over.
    """
    if experiment.held and experiment.paths.copy is None:
        holders = [e for e in experiment.history.searches if e["event"] == "started"]
        who = f"process {holders[-1]['pid']} on {holders[-1]['host']}" if holders else "another process"
        raise TuneAppError(f"{experiment.name}: is being searched by {who}")


def go_on(
    experiment: Experiment,
    extension: Mapping[str, object],
    where: Where,
    announce: Callable[[str], None],
    show: Show,
) -> Experiment:
    """Search what is left to do, with the same data and versions as before."""
    spec, at = experiment.history.spec, searched_here(experiment.paths)
    require_same_versions(experiment, announce)
    with terminable():
        data = load_data_and_ray(where.data or spec.data.source, spec.settings, where)
        require_same_data(experiment, data)
        return search_on_cluster(lambda: Search.resume(at, extension), spec, at, data, where, announce, show)


def require_same_versions(experiment: Experiment, announce: Callable[[str], None]) -> None:
    """Raise `TuneAppError` where a minor version differs on which the numbers depend; tell of a patch."""
    now, then = versions(), experiment.history.spec.versions
    changed = [k for k, was in then.items() if k in DECISIVE and now[k] != was]
    differences = "; ".join(f"{k} {then[k]}, now {now[k]}" for k in changed)
    if any(now[k].split(".")[:2] != then[k].split(".")[:2] for k in changed):
        raise TuneAppError(f"{experiment.name}: was searched with {differences}; allowed: the same minor versions")
    if changed:
        announce(f"{experiment.name} was searched with {differences}: numbers may differ in their last digits.")


def require_same_data(experiment: Experiment, data: "Mnist") -> None:
    """Raise `TuneAppError` where these are not the images that it began with."""
    digest = experiment.history.spec.data.digest
    if data.digest() != digest:
        raise TuneAppError(
            f"{experiment.name}: the data are not those it began with: digest {data.digest()}, not {digest}"
        )


def require_same(source: SpaceSource, enqueued: Sequence[Config], experiment: Experiment) -> None:
    """Raise `TuneAppError` with the difference unless an experiment searches this space with these settings."""
    spec = experiment.history.spec
    pairs = [(f"space.{k}", spec.space.get(k), source.content.get(k)) for k in {**spec.space, **source.content}]
    now = source.settings.model_dump()
    pairs += [(f"search.{k}", was, now[k]) for k, was in spec.settings.model_dump().items()]
    extended = {
        f"search.{k}" for e in experiment.history.searches if e["event"] == "extended" for k in e["settings"]
    }
    changed = [f"{key} was {was}, is {now}" for key, was, now in pairs if was != now and key not in extended]
    if enqueued and tuple(enqueued) != spec.enqueued:
        changed.append("other configs were enqueued")
    if changed:
        raise TuneAppError(f"{experiment.name}: began with another space or settings: {'; '.join(changed)}")


def load_data_and_ray(source: str | Path | None, settings: Settings, where: Where) -> "Mnist":
    """Load the images and import Ray, after a look at whether a trial fits on this machine at all."""
    if where.address is None:
        share_of_cpus(settings)
    from tune_app.task.tutorial import sources

    # One after the other: read beside the import, pyarrow crashes now and then.
    data = sources.load(source)
    import_ray(where.address)
    return data


def check_classes(data: "Mnist", source: str | Path | None, announce: Callable[[str], None]) -> None:
    """Raise `TuneAppError` where train or valid lacks a class, as images sorted by label do; say where one is rare.

    Only what begins is checked: a search that began with such data goes on.
    """
    from tune_app.task.tutorial.mnist import scarce

    lacking, few = scarce(data)
    if lacking:
        raise TuneAppError(
            f"{source}: {'; '.join(lacking)}; allowed: each class in both. Are the images sorted by label? Shuffle"
            " them and their labels alike, or name each one's split in a Parquet file"
        )
    if few:
        announce(f"Hardly any images of a class: {'; '.join(few)}.")


def check_batches(source: SpaceSource, spec: Spec) -> int:
    """The largest batch size; `TuneAppError` where it leaves fewer batches in an epoch than results."""
    most = spec.data.train // source.settings.results_per_epoch
    largest = max(
        (d.largest for d in source.space.dimensions if d.name == "bs"), default=float(TUTORIAL_CONFIG["bs"])
    )
    if largest > most:
        raise TuneAppError(
            f"space.bs goes up to {largest:g}, but {spec.data.train} images and"
            f" {source.settings.results_per_epoch} results per epoch allow at most {most}"
        )
    return int(largest)


def search_on_cluster(
    make_search: Callable[[], Search],
    spec: Spec,
    at: Paths,
    data: "Mnist",
    where: Where,
    announce: Callable[[str], None],
    show: Show,
) -> Experiment:
    """Start or join Ray and run what there is to do until all is done or a reason to end comes up."""
    title, again = called(spec, at)
    labels = {"job_name": title, "space_digest": spec.digest}
    with mirrored(at, announce) as copying, cluster(where, labels) as connection:
        from tune_app.trials.bridge import run_trials

        dashboard = RayDashboard(connection, title, METRICS[spec.settings.metric], announce)
        each = wait_for_resources(where.wait_for_resources, spec.settings, announce)
        search = make_search()
        try:
            settings = search.spec.settings  # extended, perhaps
            with interruptible() as interrupted, watched(connection, again, copying.finish):
                deadline = time.monotonic() + (settings.time_budget or math.inf)

                def reason() -> str | None:
                    best = search.history.best
                    if interrupted.is_set() or copying.taken_over:
                        return "interrupted"
                    if best and settings.reaches_target(best[settings.metric]):
                        return "target"
                    if search.hopeless:
                        return "error"
                    return "time budget" if time.monotonic() > deadline else None

                search.begin()

                def shown() -> None:
                    show(search.history, search.num_trials)
                    dashboard.update(search.history)

                ended_by = run_trials(search, data, each, reason, shown)
                search.end(ended_by or "completed")
                dashboard.update(search.history, last=True)
        finally:
            search.close()
        if where.keep_dashboard and ended_by != "interrupted":
            dashboard.stay_open()
    if copying.taken_over:
        raise TuneAppError(copying.taken_over)
    experiment = load_experiment(at.root.name, at.root.parent)
    return replace(experiment, not_copied=copying.missing)


def called(spec: Spec, at: Paths) -> tuple[str, str]:
    """How the dashboard shows what is running, and the command that goes on with it."""
    if spec.confirming is None:
        return at.root.name, f"tune-app resume {at.root.name}"
    search = at.root.parent.name
    return f"{search}: {at.root.name}", f"tune-app confirm {search}"


def succeeded(experiment: Experiment) -> bool:
    """Whether at least one trial did not fail."""
    return any(trial.results and trial.state != FAILED for trial in experiment.history.trials)
