"""A search in this process, without Ray: one trial after the other, as a test, a plan or a debugger wants it."""

import traceback
from collections.abc import Callable, Iterator
from typing import Any

from tune_app.engine.asha import judged
from tune_app.engine.search import Attempt, Search
from tune_app.errors import TuneAppError
from tune_app.experiment.settings import Settings
from tune_app.machine import process
from tune_app.task.failure import DataChanged
from tune_app.task.result import Result

Train = Callable[[Attempt], Iterator[tuple[Result, bytes | None]]]
"""Trains an attempt at a trial, and gives one result after the other, with the state if that is to be kept."""
Run = Callable[[Search, Any, Callable[[], str | None], Callable[[], None]], str | None]
"""Runs the trials of a search until all have ended or there is a reason to end, which it returns.

It takes the search, its data, what gives a reason, and what is to be called after every event.
"""


def run_in_process(
    search: Search,
    train: Train,
    reason: Callable[[], str | None] = lambda: None,
    show: Callable[[], None] = lambda: None,
    worker: dict[str, Any] | None = None,
) -> str | None:
    """Run the trials of `search` until all have ended or there is a `reason` to end, which is returned.

    An exception of `train` fails its trial, as one in a worker does. show: called at each result and end. worker:
    what the record says of this process.
    """
    worker = worker or process("cpu", 1)
    while not search.all_begun:
        attempt = search.next_attempt()
        number = attempt.trial.number
        search.started(number, worker)
        try:
            for result, state in train(attempt):
                decision = search.judge(number, result)
                search.add_result(number, result, state, decision)
                show()
                if decision.stop:
                    break
                if ended_by := reason():
                    return ended_by
        except (Exception, SystemExit) as error:
            if search.broken:
                raise
            search.failed(number, traceback.format_exc(), isinstance(error, DataChanged))
        show()
        if ended_by := reason():
            return ended_by
    return None


def train_here(
    device: str, search: Search, data: Any, reason: Callable[[], str | None], show: Callable[[], None]
) -> str | None:
    """Run the trials of `search` in this process, with a trial's threads. data: what its task's `load` returned."""
    import torch

    from tune_app.task.execution import functions
    from tune_app.task.training import Training, Watched

    spec, settings = search.spec, search.spec.settings
    watched = Watched(data) if spec.task.files else None

    def train(attempt: Attempt) -> Iterator[tuple[Result, bytes | None]]:
        trial = attempt.trial
        with functions(spec.task) as its:
            torch.set_num_threads(settings.threads)
            training = Training(
                its,
                trial.config,
                data,
                trial.seed,
                spec.whole_epochs,
                settings.results_per_epoch,
                device,
                judged(settings),
                watched,
            )
            yield from training.results(attempt.epochs, attempt.after, attempt.state)

    return run_in_process(search, train, reason, show, process(device, settings.threads))


def device_of(settings: Settings) -> str:
    """The device that a search in this process uses; `TuneAppError` for a GPU that torch cannot use."""
    import torch

    usable = torch.cuda.is_available()
    if not usable and settings.gpus_per_trial not in ("auto", 0):
        raise TuneAppError(f"--gpus-per-trial is {settings.gpus_per_trial}, allowed: 0, torch can use no GPU here")
    return "cuda" if usable and settings.gpus_per_trial != 0 else "cpu"
