"""Confirm the winner of a search: train its best configs again with fresh seeds, and read the test data once.

The runs are trials of an experiment within the experiment, so all that holds for a search holds for them: they are
recorded before they are acted on, and a confirmation that was interrupted goes on where it was.
"""

import math
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tune_app.cluster.signals import terminable
from tune_app.driver import on_data, prepare, require_free, same_data
from tune_app.engine.race import Race
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation, Findings, candidates_of, confirming
from tune_app.experiment.race import ROUNDS
from tune_app.experiment.spec import Candidate, Confirming, Spec
from tune_app.experiment.states import read_state, sha256
from tune_app.experiment.statistics import mean_interval, percentile_interval, proportion_interval
from tune_app.machine import versions
from tune_app.session import Caller, Test, carry_out
from tune_app.storage.load import confirmations, load_confirmation
from tune_app.storage.location import searched_here
from tune_app.task.loading import Tested
from tune_app.task.task import LOSS


def try_on_test_data(search: Search, test: Test) -> None:
    """Try the weights of the seed with the median value on the test data, if there are any, once."""
    measured = Findings(search.history).measured
    if measured.median is None or search.history.tested is not None:
        return
    run = measured.median
    state = read_state(search.paths, run.results[-1])
    try:
        found = test(run.config, search.spec.whole_epochs, run.seed, state)
    except TuneAppError as error:
        if not search.spec.task.files:
            raise
        # The recorded text of the task would fail again, so the confirmation ends without a test.
        search.write("tested", trial=run.number, items=0, values={}, error=str(error), state=sha256(state))
        return
    if found is None:
        return
    search.write(
        "tested",
        trial=run.number,
        items=found.n,
        values=values_with_intervals(found),
        data=found.digest,
        state=sha256(state),
    )
    for run in measured.runs:
        search.remove_states(run.number)


def values_with_intervals(found: Tested) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Each finite value of a metric with its 95 % interval over the items, None where there is none.

    Wilson's of a share, Student's t of other values of each item, the bootstrap's of one number for all of them.
    """
    loss = found.loss if found.losses is None else found.losses
    each: dict[str, NDArray[np.generic] | float] = {**found.values, LOSS: loss}
    means = {
        name: (float(np.sum(value) / found.n), interval(value))
        if isinstance(value, np.ndarray)
        else (value, percentile_interval(found.resampled[name]) if name in found.resampled else None)
        for name, value in each.items()
    }
    return {name: (mean, around) for name, (mean, around) in means.items() if math.isfinite(mean)}


def interval(values: NDArray[np.generic]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of (n,) values of items; None for a single one that is no yes or no."""
    if values.dtype == bool:
        return proportion_interval(int(values.sum()), len(values))
    return mean_interval(values.astype(float).tolist()) if len(values) > 1 else None


def confirm(experiment: Experiment, top: int, seeds: int, again: bool, caller: Caller) -> Confirmation:
    """Confirm the winner of a search, or go on with a confirmation that was interrupted, and return it.

    A finished one is returned as it is, unless it is to be done `again`, with other seeds. Raises `TuneAppError`
    where the search is running or has no result, for an unfinished confirmation of another size, where the data or
    versions are not those of the search, and see `require_run_here`.
    """
    require_in_range("--top", top, 50)
    require_in_range("--seeds", seeds, 1000)
    require_free(experiment)
    before = load_confirmation(experiment)
    if before and before.finished and not again:
        return before
    prepare(experiment, caller)
    candidates = candidates_of(experiment.history, top)
    if not candidates:
        raise TuneAppError(f"{experiment.name}: has no result to confirm")
    number = number_of(before, candidates, seeds, again) if before else 1
    at = searched_here(experiment.paths).confirmation(number)
    epochs = experiment.history.spec.settings.max_epochs
    what = Confirming(number=number, candidates=candidates, seeds=seeds, epochs=epochs)
    spec = spec_of(on_data(experiment, caller.where), what)

    def begun_or_new(spec: Spec) -> Search:
        return Search.resume(at, strategy=Race) if at.record.exists() else Search.create(spec, at, strategy=Race)

    with terminable():
        checked = partial(same_data, experiment, spec)
        runs = carry_out(checked, begun_or_new, spec, at, caller, try_on_test_data)
    confirmation = load_confirmation(experiment)
    assert confirmation is not None
    return replace(confirmation, experiment=runs)


def require_in_range(option: str, number: int, most: int) -> None:
    """Raise `TuneAppError` unless the number is from 1 to `most`."""
    if not 1 <= number <= most:
        raise TuneAppError(f"{option} is {number}, allowed: 1 to {most}")


def number_of(before: Confirmation, candidates: tuple[Candidate, ...], seeds: int, again: bool) -> int:
    """The number of the confirmation to run: the unfinished one, or the next if there is none or `again`."""
    if not before.finished:
        require_free(before.experiment)
        begun = confirming(before.experiment.history.spec)
        if (begun.candidates, begun.seeds) != (candidates, seeds) and not again:
            how = f"--top {len(begun.candidates)} --seeds {begun.seeds}"
            raise TuneAppError(
                f"{before.of.name}: a confirmation with {how} was begun and not finished;"
                f" allowed: {how}, or --again"
            )
        if not again:
            return begun.number
    return confirmations(before.of)[-1] + 1


def spec_of(search: Spec, what: Confirming) -> Spec:
    """The spec of a confirmation: the search's data, seed and resources, and nothing that would end it early."""
    settings = search.settings.model_copy(
        update={
            "num_samples": len(what.candidates) * ROUNDS + what.seeds,
            "max_epochs": math.ceil(max(candidate.epochs for candidate in what.candidates)),
            "early_stopping": False,
            "sampler": "random",  # nothing is proposed
            "target": None,
            "patience": None,
            "time_budget": None,
        }
    )
    update = {"name": f"confirmation-{what.number}", "settings": settings, "versions": versions()}
    return search.model_copy(update={**update, "enqueued": (), "confirming": what})
