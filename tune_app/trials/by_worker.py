"""What a worker on this machine does for the driver besides training: load data, and measure on test data.

The code of a task runs there and not in the driver.
"""

from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_app.errors import TuneAppError
from tune_app.experiment.spec import Spec
from tune_app.task import loading
from tune_app.task.loading import Loaded, Tested
from tune_app.task.task import Config, Task
from tune_app.typed_path import current_directory


def on_ray(spec: Spec, loaded: Loaded | None) -> Loaded:
    """Bring what a task trains on into Ray's object store; where nothing is loaded yet, a worker loads it.

    Raises `TuneAppError` for what is wrong with the task's `load`.
    """
    if loaded is not None:
        return replace(loaded, content=ray.put(loaded.content))
    content, about = asked(load_there, spec.task, spec.data.source, spec.home)
    loaded = answer(about)
    assert isinstance(loaded, Loaded)
    return replace(loaded, content=content)


def load_there(task: Task, source: str | None, home: Path | None) -> tuple[Any, Loaded]:
    """Load data: they stay in the object store, the driver takes what is known of them."""
    loaded = loading.load(task, source, home)
    return loaded.content, replace(loaded, content=None)


def tested_on_ray(spec: Spec, config: Config, epochs: int, seed: int, saved: bytes) -> Tested | None:
    """Measure a trained state on the test data; see `loading.tested`."""
    _, found = asked(test_there, spec.task, spec.data.source, spec.home, (config, epochs, seed, saved))
    tested: Tested | None = answer(found)
    return tested


def test_there(task: Task, source: str | None, home: Path | None, trained: Any) -> tuple[None, Tested | None]:
    """Measure on test data."""
    return None, loading.tested(task, source, home, *trained)


def asked(function: Callable[..., tuple[Any, Any]], *arguments: Any) -> tuple[Any, Any]:
    """References to the two results of a function that a worker on this machine calls, besides all trials.

    It calls it in the folder of this process, where relative paths were typed.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Any = ray.remote(called_in)
    options = {"num_cpus": 0, "max_retries": 0, "num_returns": 2, "scheduling_strategy": here}
    first, second = remote.options(**options).remote(current_directory(), function, *arguments)
    return first, second


def called_in(folder: Path, function: Callable[..., tuple[Any, Any]], *arguments: Any) -> tuple[Any, Any]:
    """Call a function while a folder is the current directory; a `TuneAppError` is its second result."""
    try:
        with chdir(folder):
            return function(*arguments)
    except TuneAppError as error:
        return None, error


def answer(reference: Any) -> Any:
    """What a worker answered; `TuneAppError` for what it found wrong, and where it died."""
    try:
        found = ray.get(reference)
    except ray.exceptions.RayError as error:
        raise TuneAppError(f"the worker that was to load the data died: {str(error).splitlines()[0]}") from None
    if isinstance(found, TuneAppError):
        raise found
    return found
