"""Load the data of a task: once a search, in whatever process that is."""

import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tune_app.errors import TuneAppError
from tune_app.task.failure import line_of_task
from tune_app.task.loop.data import digest
from tune_app.task.task import Config, Task

if TYPE_CHECKING:
    from tune_app.task.execution import Functions


@dataclass(frozen=True)
class Loaded:
    """The data that a task's `load` returned.

    content: itself, or where it is in Ray's object store. sizes: of the tutorial, how many images train and valid
    hold. told: the warnings of `load`, for people.
    """

    content: Any
    digest: str
    sizes: tuple[int, int] | None = None
    told: tuple[str, ...] = ()


def load(task: Task, source: str | None, home: Path | None = None) -> Loaded:
    """Load the data that a task trains on and selects by. source: as `--data`. home: the folder of its files.

    Raises what its `load` raises, and `TuneAppError` for what it must not return.
    """
    with warnings.catch_warnings(record=True, action="always", category=UserWarning) as caught:
        loaded = load_tutorial(source) if not task.files else load_own(task, source, home)
    told = (str(one.message) for one in caught if issubclass(one.category, UserWarning))
    return replace(loaded, told=tuple(dict.fromkeys(told)))


def load_tutorial(source: str | None) -> Loaded:
    """The images of the tutorial, without torch."""
    from tune_app.task.images import sources

    images = sources.load(source)
    return Loaded(images, images.digest(), (len(images.train.x), len(images.valid.x)))


def load_own(task: Task, source: str | None, home: Path | None) -> Loaded:
    """The data of a task of one's own."""
    from tune_app.task.execution import functions
    from tune_app.task.loop.again import load_from

    with one_line(f"load of {task.name}"), functions(task, home) as its:
        content = load_from(its.loads["load"], source) if "load" in its.loads else None
        return Loaded(content, digest(content))


@dataclass(frozen=True)
class Tested:
    """A trained state on n items of test data. digest: of the data. The others: see `loop.measure.Evaluation`."""

    n: int
    digest: str
    loss: float
    losses: NDArray[np.float64] | None
    values: Mapping[str, NDArray[np.generic] | float]
    resampled: Mapping[str, NDArray[np.float64]]


def tested(
    task: Task, source: str | None, home: Path | None, config: Config, epochs: int, seed: int, saved: bytes
) -> Tested | None:
    """Measure a trained state on the task's test data; None where it has none.

    epochs, seed: with which its lesson was built. Raises `TuneAppError` for what is wrong with the task.
    """
    from tune_app.task.execution import functions
    from tune_app.task.training import Training

    with one_line(f"load_test of {task.name}"), functions(task, home) as its:
        data = test_data(its, task, source)
        if data is None:
            return None
        found = Training(its, config, data, seed, epochs, 1).evaluated(saved)
        return Tested(found.n, digest(data), found.loss, found.losses, found.values, found.resampled)


def test_data(its: "Functions", task: Task, source: str | None) -> Any:
    """The data of `load` with the test part as the valid part; None where there is no test part."""
    if not task.files:
        from tune_app.task.images import sources
        from tune_app.task.images.mnist import Mnist

        images = sources.load_test(source)
        return None if images is None else Mnist(images, images)
    from tune_app.task.loop.again import load_from

    return load_from(its.loads["load_test"], source) if "load_test" in its.loads else None


@contextmanager
def one_line(where: str) -> Iterator[None]:
    """Within the block, an exception of a task's code becomes a `TuneAppError` that names the line where it was
    raised; `where` if that is none of the task's.
    """
    try:
        yield
    except TuneAppError:
        raise
    except (Exception, SystemExit) as error:
        where = line_of_task("".join(traceback.format_exception(error))) or where
        said = " ".join(str(error).split())
        raise TuneAppError(f"{where}: {type(error).__name__}: {said:.300}") from error
