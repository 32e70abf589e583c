"""Check a task before anything is searched: in seconds, in this process.

Each level is built with its defaults and trained on two batches, a result after each. Then all is built anew and
goes on from the state after the first: the second result and the state after it must come out the same.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tune_app.engine.in_process import device_of
from tune_app.errors import TuneAppError
from tune_app.experiment.space import SpaceSource
from tune_app.task.loading import Loaded, load, one_line
from tune_app.task.recorded import mark_as_run
from tune_app.task.result import Result
from tune_app.task.task import Config

if TYPE_CHECKING:
    from tune_app.task.loop.lesson import Lesson
    from tune_app.task.training import Training

SEED = 0


@dataclass(frozen=True)
class Checked:
    """The findings about a level with its defaults. mistake: in one line; then the numbers are missing."""

    level: str
    parameters: int = 0
    batches_per_epoch: int = 0
    seconds_per_batch: float = 0.0
    seconds_per_validation: float = 0.0
    loading_processes: int = 0
    """Processes that load its batches, besides the one that trains."""
    mistake: str | None = None


def load_to_check(source: SpaceSource, data: str | None) -> Loaded:
    """Load the data of a space's task. From here on its code runs, and its output goes to stderr.

    Raises `TuneAppError` for what is wrong with its `load`.
    """
    mark_as_run(source.task)
    with redirect_stdout(sys.stderr):
        return load(source.task, data, source.home)


def check_level(source: SpaceSource, level: str, loaded: Loaded) -> Checked:
    """Check one level of a space's task on these data."""
    task = source.task
    try:
        with redirect_stdout(sys.stderr), one_line(f"{task.level(level).family}.py"):
            return checked(source, task.complete({"level": level}), loaded)
    except TuneAppError as error:
        return Checked(level, mistake=str(error))


def checked(source: SpaceSource, config: Config, loaded: Loaded) -> Checked:
    """Train, go on and compare. Raises what the task raises, and `ValueError` for what it must not do."""
    with begun(source, config, loaded) as training:
        lesson = training.lesson()
        batches = len(lesson.train_dl)
        loading = max(getattr(dl, "num_workers", 0) for dl in (lesson.train_dl, lesson.valid_dl))
        step_schedules(lesson, training.epochs)
    until = 3 / batches  # after the last one, less of a state would be kept
    with begun(source, config, loaded, batches) as training:
        (first, state), (second, end) = islice(training.results(until), 2)
    for result in (first, second):
        if result.diverged:
            raise ValueError(f"{result.diverged} is not finite after batch {result.k}, allowed: finite numbers")
    with begun(source, config, loaded, batches) as training:
        again, end_again = next(training.results(until, first.k, state))
    assert end is not None and end_again is not None  # where a training is judged, its state is given
    require_equal((second, end), (again, end_again), training.device)
    seconds = second.train_seconds, second.valid_seconds
    return Checked(str(config["level"]), second.parameters, batches, *seconds, loading)


@contextmanager
def begun(source: SpaceSource, config: Config, loaded: Loaded, results_per_epoch: int = 1) -> Iterator["Training"]:
    """A training as a trial has it: the files of the task are executed anew."""
    import torch

    from tune_app.task.execution import functions
    from tune_app.task.training import Training, Watched

    settings = source.settings
    watched = Watched(loaded.content) if source.task.files else None
    epochs = max(2, settings.max_epochs)  # two batches may be two epochs
    with functions(source.task) as its:
        torch.set_num_threads(settings.threads)
        device = device_of(settings)
        yield Training(
            its, config, loaded.content, SEED, epochs, results_per_epoch, device, judged=(1, 2), watched=watched
        )


def step_schedules(lesson: "Lesson", epochs: int) -> None:
    """Step the schedules of a lesson as often as a whole training does: some take only so many steps."""
    from tune_app.task.loop.fit import step_schedule

    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # the optimizer has not been stepped
            if lesson.each_batch is not None:
                for _ in range(epochs * len(lesson.train_dl)):
                    lesson.each_batch.step()
            for _ in range(epochs):
                step_schedule(lesson, valid_loss=0.0)
    except Exception as error:
        raise ValueError(
            f"a schedule cannot be stepped through {epochs} epochs of {len(lesson.train_dl)} batches: {error};"
            " allowed: a schedule that goes by the fact `epochs`"
        ) from error


def require_equal(one_go: tuple[Result, bytes], resumed: tuple[Result, bytes], device: str) -> None:
    """Raise `ValueError` with the difference between a result and the same one of a training that went on."""
    (result, end), (again, end_again) = one_go, resumed
    then, now = ({"train_loss": r.train_loss, **r.valid} for r in (result, again))
    differing = [f"{name} {then[name]!r} and {now[name]!r}" for name in then if then[name] != now[name]]
    differing += [f"the state of {name}" for name in different_parts(end, end_again)]
    if differing:
        gpu = "" if device == "cpu" else "; on a GPU also torch.use_deterministic_algorithms(True)"
        raise ValueError(
            f"the second result differs if a training goes on from the first: {differing[0]}: something that draws"
            f" or changes is not part of the lesson; allowed: keeps={{...}}, or a generator of torch, numpy or"
            f" random{gpu}"
        )


def different_parts(one: bytes, other: bytes) -> Sequence[str]:
    """The parts of a lesson whose state differs."""
    from tune_app.task.loop.state import packed, read

    parts, others = read(one), read(other)
    return [name for name in parts if packed({name: parts[name]}) != packed({name: others[name]})]
