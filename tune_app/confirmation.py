"""Confirm the winner of a search: train its best configs again with fresh seeds, and read the test images once.

The runs are trials of an experiment within the experiment, so all that holds for a search holds for them: they are
recorded before they are acted on, and a confirmation that was interrupted goes on where it was.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tune_app.cluster.connect import Where
from tune_app.cluster.signals import terminable
from tune_app.driver import (
    Show,
    load_data_and_ray,
    require_free,
    require_same_data,
    require_same_versions,
    search_on_cluster,
)
from tune_app.engine.asha import Decision
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.findings import Confirmation, Findings, Seeds, candidates_of, confirming
from tune_app.experiment.history import Experiment, Trial
from tune_app.experiment.race import ROUNDS
from tune_app.experiment.spec import Candidate, Confirming, Spec
from tune_app.experiment.states import digest, read_state
from tune_app.machine import versions
from tune_app.storage.load import confirmations, load_confirmation
from tune_app.storage.location import searched_here
from tune_app.task.result import Result


class ConfirmationSearch(Search):
    """A search whose trials are the runs of a confirmation."""

    source: str | None = None
    """Where the test images are, as `sources.load` takes it."""

    @property
    def findings(self) -> Findings:
        """What the runs say so far."""
        return Findings(self.history)

    @property
    def num_trials(self) -> int:
        """The runs so far and those that there may still be."""
        findings = self.findings
        left = confirming(self.spec).seeds - len(findings.measured.runs)
        for runs, standing in zip(findings.runs, findings.standings, strict=True):
            if standing.state == "racing":
                left += ROUNDS - len(runs)
        return len(self.history.trials) + left

    @property
    def all_begun(self) -> bool:
        """Whether the race is decided and all runs that measure the winner have begun."""
        return not self.waiting and self.findings.winner is not None and self.next_run() is None

    @property
    def ready(self) -> bool:
        """Whether there is a run to begin: at the end of the race, its last runs are waited for."""
        return bool(self.waiting) or self.next_run() is not None

    def next_run(self) -> tuple[Candidate, int] | None:
        """The next config and seed: of the earliest round that lacks one, then of those that measure the winner.

        A round begins before the one before has been judged, so that no worker waits; a run too many is a run
        that does not count.
        """
        findings, seeds = self.findings, Seeds.of(self.spec)
        if findings.winner is not None:
            left = seeds.measuring[len(findings.measured.runs) :]
            return (findings.candidates[findings.winner], left[0]) if left else None
        racing = [i for i, standing in enumerate(findings.standings) if standing.state == "racing"]
        for number, seed in enumerate(seeds.rounds):
            for i in racing:
                if number not in findings.runs[i]:
                    return findings.candidates[i], seed
        return None

    def ask(self) -> Trial:
        """The next run."""
        run = self.next_run()
        assert run is not None  # it is `ready`
        number = len(self.history.trials)
        self.write("asked", trial=number, config=run[0].config, seed=run[1], ask_seconds=0.0)
        return self.history.trials[number]

    def epochs(self, trial: Trial) -> float:
        """As far as the search chose."""
        return next(c.epochs for c in confirming(self.spec).candidates if c.config == trial.config)

    def decide(self, trial: Trial, result: Result) -> Decision:
        """Nothing is stopped early."""
        return Decision(stop=result.epoch >= self.epochs(trial))

    def end(self, reason: str) -> None:
        """Read the test images if everything else is done, once; then write why it ended."""
        if reason == "completed" and self.history.tested is None:
            self.test()
        super().end(reason)

    def test(self) -> None:
        """Try the weights of the seed with the median value on the test images, if there are any."""
        from tune_app.task.training import evaluate
        from tune_app.task.tutorial import sources

        median = self.findings.measured.median
        images = sources.load_test(self.source) if median else None
        if median is None or images is None:
            return
        last = median.results[-1]
        state = read_state(self.paths, last)
        losses, hits = evaluate(median.config, state, images)
        self.write(
            "tested",
            trial=median.number,
            images=len(images.x),
            correct=int(hits.sum()),
            loss=float(losses.mean(dtype=np.float64)),
            loss_deviation=float(losses.std(ddof=min(1, len(losses) - 1), dtype=np.float64)),
            data=images.digests,
            state=digest(state),
        )
        for run in self.findings.measured.runs:
            self.states.keep_only(run.number, (self.kept(run.number),))


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
        data = load_data_and_ray(source, history.spec.settings, where)
        require_same_data(experiment, data)
        spec = spec_of(history.spec, Confirming(number=number, candidates=candidates, seeds=seeds))

        def make() -> Search:
            search = ConfirmationSearch.resume(at) if at.record.exists() else ConfirmationSearch.create(spec, at)
            search.source = None if source is None else str(source)
            return search

        runs = search_on_cluster(make, spec, at, data, where, announce, show)
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
