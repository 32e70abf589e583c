"""Confirm the winner of a search: train its best configs again with fresh seeds, and read the test images once.

The runs are trials of an experiment within the experiment, so all that holds for a search holds for them: they are
recorded before they are acted on, and a confirmation that was interrupted goes on where it was.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_app.cluster.connect import Where
from tune_app.cluster.signals import terminable
from tune_app.driver import require_free, require_same_data, require_same_versions
from tune_app.engine.race import Race
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.findings import Confirmation, Findings, candidates_of, confirming
from tune_app.experiment.history import Experiment
from tune_app.experiment.race import ROUNDS
from tune_app.experiment.spec import Confirming, Spec
from tune_app.experiment.states import read_state, sha256
from tune_app.machine import versions
from tune_app.session import Show, carry_out, load_data
from tune_app.storage.load import confirmations, load_confirmation
from tune_app.storage.location import searched_here


def try_on_test_images(search: Search, source: str | Path | None) -> None:
    """Try the weights of the seed with the median value on the test images, if there are any, once.

    source: where they are, as `sources.load` takes it.
    """
    from tune_app.task.training import evaluate
    from tune_app.task.tutorial import sources

    measured = Findings(search.history).measured
    images = sources.load_test(source) if measured.median and search.history.tested is None else None
    if measured.median is None or images is None:
        return
    state = read_state(search.paths, measured.median.results[-1])
    losses, hits = evaluate(measured.median.config, state, images)
    search.write(
        "tested",
        trial=measured.median.number,
        images=len(images.x),
        correct=int(hits.sum()),
        loss=float(losses.mean(dtype=np.float64)),
        loss_deviation=float(losses.std(ddof=min(1, len(losses) - 1), dtype=np.float64)),
        data=images.digests,
        state=sha256(state),
    )
    for run in measured.runs:
        search.states.keep_only(run.number, (search.kept(run.number),))


def confirm(
    experiment: Experiment,
    top: int,
    seeds: int,
    again: bool,
    where: Where,
    announce: Callable[[str], None],
    show: Show,
) -> Confirmation:
    """Confirm the winner of a search, or go on with a confirmation that was interrupted, and return it.

    One that is finished is returned as it is, unless it is to be done `again`, with other seeds. Raises
    `TuneAppError` where the search is going on or has no result, for an unfinished confirmation of another size,
    and where the data or versions are not those of the search.
    """
    for option, number, most in (("--top", top, 50), ("--seeds", seeds, 1000)):
        if not 1 <= number <= most:
            raise TuneAppError(f"{option} is {number}, allowed: 1 to {most}")
    require_free(experiment)
    name, history = experiment.name, experiment.history
    before = load_confirmation(experiment)
    if before and before.finished and not again:
        return before
    require_same_versions(experiment, announce)
    candidates = candidates_of(history, top)
    if not candidates:
        raise TuneAppError(f"{name}: has no result to confirm")
    number = confirmations(experiment)[-1] + 1 if before else 1
    if before and not before.finished:
        require_free(before.experiment)
        begun = confirming(before.experiment.history.spec)
        if (begun.candidates, begun.seeds) != (candidates, seeds) and not again:
            how = f"--top {len(begun.candidates)} --seeds {begun.seeds}"
            raise TuneAppError(
                f"{name}: a confirmation with {how} was begun and not finished; allowed: {how}, or --again"
            )
        if not again:
            number = begun.number
    at = searched_here(experiment.paths).confirmation(number)
    with terminable():
        source = where.data or history.spec.data.source
        data = load_data(source, history.spec.settings, where)
        require_same_data(experiment, data)
        spec = spec_of(history.spec, Confirming(number=number, candidates=candidates, seeds=seeds))

        def make() -> Search:
            begun = at.record.exists()
            return Search.resume(at, strategy=Race) if begun else Search.create(spec, at, strategy=Race)

        def test(search: Search) -> None:
            try_on_test_images(search, source)

        runs = carry_out(make, spec, at, data, where, announce, show, test)
    confirmation = load_confirmation(experiment)
    assert confirmation is not None
    return replace(confirmation, experiment=runs)


def spec_of(search: Spec, what: Confirming) -> Spec:
    """The spec of a confirmation: the search's data, seed and resources, and nothing that would end it early."""
    settings = search.settings.model_copy(
        update={
            "num_samples": len(what.candidates) * ROUNDS + what.seeds,
            "max_epochs": int(np.ceil(max(candidate.epochs for candidate in what.candidates))),
            "early_stopping": False,
            "sampler": "random",  # nothing is proposed
            "target": None,
            "time_budget": None,
        }
    )
    update = {"name": f"confirmation-{what.number}", "settings": settings, "versions": versions()}
    return search.model_copy(update={**update, "enqueued": (), "confirming": what})
