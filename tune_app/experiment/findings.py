"""The findings of a confirmation: which of a search's best configs wins, and what it is worth.

A confirmation is kept as an experiment within the experiment: its trials are the runs of the race (`race.py`) and
then those that measure the winner. Choosing and measuring share no seed, so the measured values are honest draws.
Each run goes as far as the search chose, and counts with its value there, not with its best.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import FINISHED, Experiment
from tune_app.experiment.history import History
from tune_app.experiment.race import ROUNDS, Standing, race
from tune_app.experiment.record import Entry
from tune_app.experiment.spec import Candidate, Confirming, Spec, derive_seed
from tune_app.experiment.statistics import mean_interval, next_interval
from tune_app.experiment.trial import FAILED, Trial
from tune_app.task.task import Metric

Interval = tuple[float, float]


def candidates_of(history: History, top: int) -> tuple[Candidate, ...]:
    """The `top` best configs of a search, each once, at the epoch of its best result."""
    found: dict[str, Candidate] = {}
    for trial in history.ranked():
        best = trial.best
        assert best is not None
        found.setdefault(
            str(trial.config),
            Candidate(
                trial=trial.number,
                config=trial.config,
                epochs=best.epoch,
                parameters=best.parameters,
                value=history.metric.value(best),
            ),
        )
    return tuple(found.values())[:top]


def racing_seeds(spec: Spec) -> list[int]:
    """The seed of each round of a confirmation: none is a seed of the search or of another confirmation."""
    number = confirming(spec).number
    return [derive_seed("race", spec.settings.seed, number, i) for i in range(ROUNDS)]


def confirming(spec: Spec) -> Confirming:
    """The confirmation that a spec describes."""
    if spec.confirming is None:
        raise TuneAppError(f"experiment {spec.name}: is no confirmation")
    return spec.confirming


@dataclass(frozen=True)
class Measured:
    """The runs that measured the winner, in the order of their seeds, and what they say by the search's metric."""

    runs: list[Trial]
    metric: Metric

    @cached_property
    def succeeded(self) -> list[Trial]:
        """The runs that did not fail, the worst first."""
        ended = [run for run in self.runs if run.ended and run.state != FAILED]
        return sorted(ended, key=lambda run: (self.metric.gain(value_at_end(run, self.metric), 0), run.number))

    @cached_property
    def values(self) -> list[float]:
        """Their values at the epoch that the search chose, in the same order."""
        return [value_at_end(run, self.metric) for run in self.succeeded]

    @property
    def failed(self) -> int:
        """How many seeds failed: a loss was not finite, or there was an error."""
        return sum(run.state == FAILED for run in self.runs)

    @property
    def mean(self) -> float | None:
        """The mean of the seeds that did not fail."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def interval(self) -> Interval | None:
        """Its 95 % interval by Student's t, from two seeds on."""
        return self.bounded(mean_interval)

    @property
    def next_interval(self) -> Interval | None:
        """The interval that the value of another seed lies in with 95 % confidence."""
        return self.bounded(next_interval)

    def bounded(self, interval: Callable[[Sequence[float]], Interval]) -> Interval | None:
        """An interval within the metric's bounds, None below two seeds."""
        if len(self.values) < 2:
            return None
        return self.metric.bounded(interval(self.values))

    @property
    def median(self) -> Trial | None:
        """The run with the median value, of two in the middle the worse: its weights are exported."""
        return self.succeeded[(len(self.succeeded) - 1) // 2] if self.succeeded else None


class Findings:
    """The findings from the runs of a confirmation so far."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.candidates = confirming(history.spec).candidates
        index = {str(candidate.config): i for i, candidate in enumerate(self.candidates)}
        rounds = {seed: i for i, seed in enumerate(racing_seeds(history.spec))}
        self.runs: list[dict[int, Trial]] = [{} for _ in self.candidates]
        """By candidate and round."""
        measuring: list[Trial] = []
        for trial in history.trials:
            if trial.seed in rounds:
                self.runs[index[str(trial.config)]][rounds[trial.seed]] = trial
            else:
                measuring.append(trial)
        self.measured = Measured(measuring, history.metric)

    @cached_property
    def standings(self) -> list[Standing]:
        """How the race stands, by candidate."""
        metric = self.history.metric
        errors = [[error(runs[i], metric) if i in runs else None for i in range(ROUNDS)] for runs in self.runs]
        return race(errors, on_ratio_scale=math.isfinite(metric.best_possible))

    @cached_property
    def winner(self) -> int | None:
        """The index of the winner, once the race is decided: the cheapest of those that cannot be told apart."""
        if any(standing.state == "racing" for standing in self.standings):
            return None
        tie = [i for i, standing in enumerate(self.standings) if standing.state == "tie"]
        return min(tie, key=lambda i: cost(self.candidates[i]))

    def mean(self, i: int) -> float | None:
        """The mean of a candidate over the runs that counted and did not fail; of the winner, as measured."""
        if i == self.winner:
            return self.measured.mean
        counted = [self.runs[i][number] for number in range(len(self.standings[i].errors))]
        values = [value_at_end(run, self.history.metric) for run in counted if run.state != FAILED]
        return float(np.mean(values)) if values else None

    def run_seconds(self, i: int) -> float | None:
        """How long one run of a candidate trains and validates, in the mean; None before one has ended."""
        runs = [run for run in self.runs[i].values() if run.results and run.ended]
        if i == self.winner:
            runs += self.measured.succeeded
        times = [sum(r.train_seconds + r.valid_seconds for r in run.results) for run in runs]
        return float(np.mean(times)) if times else None


def cost(candidate: Candidate) -> tuple[float, int, int]:
    """Orders candidates, cheapest first: epochs, parameters, number."""
    return candidate.epochs, candidate.parameters, candidate.trial


def value_at_end(run: Trial, metric: Metric) -> float:
    """The value of a run that has ended well, at the epoch that the search chose."""
    return metric.value(run.results[-1])


def error(run: Trial, metric: Metric) -> float | None:
    """How far a run is from the best that can be, if that is known; None while it has not ended."""
    if not run.ended:
        return None
    if run.state == FAILED:
        return math.inf
    best = metric.best_possible
    return -metric.gain(value_at_end(run, metric), best if math.isfinite(best) else 0.0)


@dataclass(frozen=True)
class Confirmation:
    """A confirmation as a reader sees it."""

    of: Experiment
    experiment: Experiment
    """The runs, kept as an experiment."""
    tests_read: int
    """How often the test data were read for this search."""

    @cached_property
    def findings(self) -> Findings:
        """The findings from its runs."""
        return Findings(self.experiment.history)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.experiment.state == FINISHED

    @property
    def winner(self) -> Candidate | None:
        """The config that won, once the race is decided."""
        i = self.findings.winner
        return None if i is None else self.findings.candidates[i]

    @property
    def exported(self) -> Trial | None:
        """The run whose weights are exported: the one that was tested, or else the median."""
        tested = self.tested
        return self.findings.history.trials[tested["trial"]] if tested else self.findings.measured.median

    @property
    def tested(self) -> Entry | None:
        """The entry that tells of the test data, if they were read."""
        return self.experiment.history.tested

    @property
    def tested_items(self) -> int:
        """How many items the test data had."""
        return int(self.tested["items"]) if self.tested else 0

    @property
    def test_values(self) -> dict[Metric, tuple[float, Interval | None]]:
        """The winner's values on the test data, the search's metric first, with their 95 % intervals.

        One without is no mean over the items.
        """
        tested, metrics = self.tested, self.of.history.spec.task.metrics
        if tested is None:
            return {}
        found = {
            metrics[name]: (value, metrics[name].bounded(interval) if interval else None)
            for name, (value, interval) in tested["values"].items()
        }
        return dict(sorted(found.items(), key=lambda item: item[0] != self.of.history.metric))

    @property
    def optimism(self) -> float | None:
        """By how much the search's best value is better than the mean of the same config over fresh seeds."""
        best, metric = self.of.history.best, self.of.history.metric
        raced = [candidate.config for candidate in self.findings.candidates]
        if best is None or (config := self.of.trial(best.trial).config) not in raced:
            return None
        mean = self.findings.mean(raced.index(config))
        return None if mean is None else metric.gain(metric.value(best), mean)
