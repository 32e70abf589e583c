"""Begin a search, go on with one, or extend it: check the conditions of each, and then `carry_out`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tune_app.cluster.connect import Where
from tune_app.cluster.signals import terminable
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import FINISHED, Experiment
from tune_app.experiment.record import refuse_existing
from tune_app.experiment.settings import check_settings
from tune_app.experiment.space import SpaceSource
from tune_app.experiment.spec import DataSource, Paths, Spec
from tune_app.experiment.trial import FAILED
from tune_app.machine import versions
from tune_app.session import Caller, carry_out
from tune_app.storage.location import searched_here
from tune_app.storage.mirror import refuse_existing_copy
from tune_app.task.loading import Loaded
from tune_app.task.recorded import how_changed, require_run_here
from tune_app.task.task import Config

DECISIVE = ("python", "torch", "optuna", "numpy")
"""Versions on which a search's configs and numbers depend."""

BUDGETS = ("num_samples", "time_budget")


def run(source: SpaceSource, enqueued: Sequence[Config], paths: Paths, caller: Caller) -> Experiment:
    """Search a space, `enqueued` configs first, and return the experiment. Nothing stays where it cannot start.

    Raises `TuneAppError` for data, resources or a cluster that are not there. A first SIGINT or SIGTERM ends
    the search; its reason then is "interrupted".
    """
    refuse_existing_copy(paths)
    refuse_existing(paths.root)
    spec = Spec(
        name=paths.root.name,
        task=source.task,
        task_path=None if source.home is None else str(source.home),
        space=source.content,
        settings=source.settings,
        data=DataSource(source=None if caller.where.data is None else str(caller.where.data), digest=""),
        versions=versions(),
        enqueued=tuple(enqueued),
    )

    def checked(loaded: Loaded) -> Spec:
        check_batches(source, loaded.sizes)
        train, valid = loaded.sizes or (None, None)
        data = DataSource(source=spec.data.source, digest=loaded.digest, train=train, valid=valid)
        return spec.model_copy(update={"data": data})

    with terminable():
        return carry_out(checked, lambda spec: Search.create(spec, paths), spec, paths, caller)


def resume(experiment: Experiment, caller: Caller) -> Experiment:
    """Go on with a search that was interrupted in any way, and return the experiment.

    Raises `TuneAppError` where it is being searched or has nothing left to do, where the data or the versions are
    not those that it began with, and see `require_run_here`.
    """
    require_free(experiment)
    if experiment.state == FINISHED:
        raise TuneAppError(f"{experiment.name}: is finished; tune-app extend gives it a larger budget")
    return go_on(experiment, {}, caller)


def extend(experiment: Experiment, budget: Mapping[str, object], caller: Caller) -> Experiment:
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
    changed = check_settings(settings.model_dump(exclude_defaults=True), budget, history.spec.task, name)
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
    if history.on_target:
        extension["target"] = None
        caller.announce(f"The target {settings.target:g} was reached; the search goes on without one.")
    return go_on(experiment, extension, caller)


def require_free(experiment: Experiment) -> None:
    """Raise `TuneAppError` that says who is searching the experiment, if someone is.

    Of one in a bucket, `mirrored` says that, and when it can be taken over.
    """
    if experiment.held and experiment.paths.copy is None:
        holders = [e for e in experiment.history.searches if e["event"] == "started"]
        who = f"process {holders[-1]['pid']} on {holders[-1]['host']}" if holders else "another process"
        raise TuneAppError(f"{experiment.name}: is being searched by {who}")


def go_on(experiment: Experiment, extension: Mapping[str, object], caller: Caller) -> Experiment:
    """Search what is left to do, with the same task, data and versions as before."""
    at = searched_here(experiment.paths)
    prepare(experiment, caller)
    spec = on_data(experiment, caller.where)
    with terminable():
        checked = partial(same_data, experiment, spec)
        return carry_out(checked, lambda _: Search.resume(at, extension), spec, at, caller)


def prepare(experiment: Experiment, caller: Caller) -> None:
    """Raise `TuneAppError` unless this version, and this user, may train an experiment's task again."""
    require_same_versions(experiment, caller.announce)
    spec, name = experiment.history.spec, experiment.name
    to_read = f"{', '.join(spec.task.files)} (tune-app status {name} --task)"
    require_run_here(spec.task, name, to_read, caller.run_its_code)
    if changed := how_changed(spec.task, spec.home):
        caller.announce(changed)


def require_same_versions(experiment: Experiment, announce: Callable[[str], None]) -> None:
    """Raise `TuneAppError` where a minor version differs on which the numbers depend; tell of a patch."""
    now, then = versions(), experiment.history.spec.versions
    changed = [k for k, was in then.items() if k in DECISIVE and now[k] != was]
    differences = "; ".join(f"{k} {then[k]}, now {now[k]}" for k in changed)
    if any(now[k].split(".")[:2] != then[k].split(".")[:2] for k in changed):
        raise TuneAppError(f"{experiment.name}: was searched with {differences}; allowed: the same minor versions")
    if changed:
        announce(f"{experiment.name} was searched with {differences}: numbers may differ in their last digits.")


def on_data(experiment: Experiment, where: Where) -> Spec:
    """The spec of an experiment, whose data may lie elsewhere now."""
    spec = experiment.history.spec
    source = spec.data.source if where.data is None else str(where.data)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"source": source})})


def same_data(experiment: Experiment, spec: Spec, loaded: Loaded) -> Spec:
    """The spec, see `on_data`; `TuneAppError` unless these are the data that the experiment began with."""
    if loaded.digest != spec.data.digest:
        raise TuneAppError(
            f"{experiment.name}: the data are not those it began with: digest {loaded.digest}, not"
            f" {spec.data.digest}"
        )
    return spec


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
    if source.task.digest != spec.task.digest:
        changed.append(f"task was {spec.task.name} {spec.task.digest}, is {source.task.name} {source.task.digest}")
    if enqueued and tuple(enqueued) != spec.enqueued:
        changed.append("other configs were enqueued")
    if changed:
        raise TuneAppError(f"{experiment.name}: began with another space or settings: {'; '.join(changed)}")


def check_batches(source: SpaceSource, sizes: tuple[int, int] | None) -> None:
    """Raise `TuneAppError` where the largest batch size leaves fewer batches in an epoch than results.

    sizes: of train and valid, as far as they are known.
    """
    if sizes is None:
        return
    most = sizes[0] // source.settings.results_per_epoch
    usual = float(source.task.baseline_config["bs"])
    largest = max((d.largest for d in source.space.dimensions if d.name == "bs"), default=usual)
    if largest > most:
        raise TuneAppError(
            f"space.bs goes up to {largest:g}, but {sizes[0]} images and"
            f" {source.settings.results_per_epoch} results per epoch allow at most {most}"
        )


def succeeded(experiment: Experiment) -> bool:
    """True if at least one trial did not fail."""
    return any(trial.results and trial.state != FAILED for trial in experiment.history.trials)
