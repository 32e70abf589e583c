"""The Python API, as a notebook uses it."""

import re
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tune_app.cluster.connect import Where
from tune_app.enqueue import enqueued_configs
from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation
from tune_app.experiment.space import load_space
from tune_app.experiment.spec import Paths
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import experiment_names, load_experiment
from tune_app.storage.location import folder_or_bucket, paths
from tune_app.task.recorded import mark_as_run
from tune_app.typed_path import current_directory

if TYPE_CHECKING:
    from tune_app.session import Caller

__all__ = ["Where", "confirm", "extend", "load_experiment", "load_space", "resume", "search"]
HERE = Where()
"""This machine, the package's MNIST, no dashboard."""


def search(
    space: str | Path | Mapping[str, object] = "tutorial",
    name: str | None = None,
    settings: Mapping[str, object] | None = None,
    experiments_dir: str | Path | Bucket = "experiments",
    where: Where = HERE,
    quiet: bool = False,
    resume: bool = False,
    enqueue: str | Path | Sequence[str | Path] = (),
) -> Experiment:
    """Search a space and return the experiment, whose `history.best` is the best result.

    space: a YAML file, the name of a shipped one, or a dict like a file. settings: override its `search`, for
    example `{"num_samples": 8, "time_budget": "2m"}`. resume: go on where a search of that name was interrupted, if
    there is one. enqueue: what to try first, exported config.yaml files or "NAME:5", an experiment's five best.
    where: other data than the package's MNIST, or a cluster, for example `Where(address="auto")`.
    experiments_dir: a folder, or s3://BUCKET/FOLDER, where a copy is kept of what is searched here.

    Raises `TuneAppError` for whatever the command explains in one line.
    """
    from tune_app import driver

    sources = [enqueue] if isinstance(enqueue, str | Path) else enqueue
    with alone(experiments_dir, where, quiet) as (folder, caller):
        source = load_space(space, settings)
        mark_as_run(source.task)
        enqueued = enqueued_configs(sources, source.space, folder)
        new = newly_named(folder, source.name) if name is None else nullcontext(paths(folder, name))
        if resume and name in experiment_names(folder):
            experiment = load_experiment(name, folder)
            driver.require_same(source, enqueued, experiment)
            return driver.resume(experiment, caller)
        with new as at:
            return driver.run(source, enqueued, at, caller)


def resume(
    name: str | None = None,
    experiments_dir: str | Path | Bucket = "experiments",
    where: Where = HERE,
    quiet: bool = False,
    run_its_code: bool = False,
) -> Experiment:
    """Go on with a search that was interrupted in any way; without a name with the newest.

    What was recorded stays as it is; trials that were running continue from their last result. run_its_code: for a
    task that was not searched here before, and that you have read.

    Raises `TuneAppError` where it is being searched, is finished, or began with other data or versions, and for a
    task of somebody else unless its code may run.
    """
    from tune_app import driver

    with alone(experiments_dir, where, quiet, run_its_code) as (folder, caller):
        return driver.resume(load_experiment(name, folder), caller)


def extend(
    name: str,
    budget: Mapping[str, object],
    experiments_dir: str | Path | Bucket = "experiments",
    where: Where = HERE,
    quiet: bool = False,
    run_its_code: bool = False,
) -> Experiment:
    """Go on with a search, finished or not, with a larger budget: the same record, rungs and sampler's sequence.

    budget: `{"num_samples": 48}`, the number of trials in all, or `{"time_budget": "10m"}` from now on, or both.
    run_its_code: see `resume`.

    Raises `TuneAppError` where the budget is not larger, and where `resume` does.
    """
    from tune_app import driver

    with alone(experiments_dir, where, quiet, run_its_code) as (folder, caller):
        return driver.extend(load_experiment(name, folder), budget, caller)


def confirm(
    name: str,
    top: int = 5,
    seeds: int = 10,
    again: bool = False,
    experiments_dir: str | Path | Bucket = "experiments",
    where: Where = HERE,
    quiet: bool = False,
    run_its_code: bool = False,
) -> Confirmation:
    """Train the `top` best configs of a search again with fresh seeds, and return what was found.

    They race over paired seeds; `seeds` further ones measure the winner, and then the test data are read. A
    finished confirmation is returned as it is, unless it is to be done `again`; one that was interrupted goes on.
    run_its_code: see `resume`.

    Raises `TuneAppError` where the search is going on or has no result, and where `resume` does.
    """
    from tune_app import confirmation

    with alone(experiments_dir, where, quiet, run_its_code) as (folder, caller):
        return confirmation.confirm(load_experiment(name, folder), top, seeds, again, caller)


@contextmanager
def alone(
    experiments_dir: str | Path | Bucket, where: Where, quiet: bool, run_its_code: bool = False
) -> Iterator[tuple[Path | Bucket, "Caller"]]:
    """The folder by its whole path, and who asks for the search, while no other thread of this process searches.

    Ray starts in another folder and takes the whole process there, so paths are read only within the block.
    Errors name the folder as it was typed. What a task prints in this process goes to stderr, since stdout is for
    the outcome.
    """
    from tune_app.cluster.process import one_at_a_time
    from tune_app.output.progress import progress
    from tune_app.session import Caller

    with progress(quiet) as shown, one_at_a_time(shown.announce), redirect_stdout(sys.stderr):
        typed = folder_or_bucket(experiments_dir)
        whole = current_directory() / typed if isinstance(typed, Path) else typed
        try:
            yield whole, Caller(where, shown.announce, shown.show, run_its_code)
        except TuneAppError as error:
            named = rf"(?<!\S){re.escape(str(whole))}(?=[/:;, ]|$)"
            error.args = (re.sub(named, lambda _: str(typed), str(error)),)
            raise


@contextmanager
def newly_named(folder: Path | Bucket, space: str) -> Iterator[Paths]:
    """The files of a new experiment under a name that nobody has.

    Its empty folder keeps the name from other processes, and goes with the block where no search begins.
    """
    now = name_now(space)
    if isinstance(folder, Bucket):  # where no machine can keep a name from another
        yield paths(folder, f"{now}-{secrets.token_hex(3)}")
        return
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    for number in count(1):
        at = paths(folder, now if number == 1 else f"{now}-{number}")
        try:
            at.root.mkdir(parents=True)
            break
        except OSError as error:
            if not at.root.exists():
                raise TuneAppError(f"{at.root}: cannot be created: {error.strerror}") from None
    try:
        yield at
    finally:
        for one in (at.root, *new):
            with suppress(OSError):  # something is in it
                one.rmdir()


def name_now(space: str) -> str:
    """A name from a space's name, date and time."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", space)[:40].strip("-._") or "space"
    return f"{plain}-{datetime.now():%Y%m%d-%H%M%S}"
