"""What a confirmation found: which of a search's best configs wins, and what it is worth.

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
from tune_app.experiment.history import (
    FAILED,
    FINISHED,
    Experiment,
    History,
    Trial,
    experiment_names,
    load_experiment,
)
from tune_app.experiment.race import ROUNDS, Standing, race
from tune_app.experiment.record import Entry
from tune_app.experiment.settings import METRICS
from tune_app.experiment.spec import Candidate, Confirming, Spec, derive_seed
from tune_app.experiment.statistics import mean_interval, next_interval, proportion_interval
from tune_app.tutorial.levels import Config

GUESSING = {"valid_accuracy": 0.9, "valid_loss": math.log(10)}
"""The error of a run that failed: that of guessing one of ten digits."""


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
                epochs=best["epoch"],
                parameters=best["parameters"],
                value=best[history.spec.settings.metric],
            ),
        )
    return tuple(found.values())[:top]


@dataclass(frozen=True)
class Seeds:
    """The seeds of a confirmation: one a round, the same for all candidates, and those that measure the winner."""

    rounds: list[int]
    measuring: list[int]

    @classmethod
    def of(cls, spec: Spec) -> "Seeds":
        """Those of a confirmation's spec: none is a seed of the search or of another confirmation."""
        what = confirming(spec)
        seed = spec.settings.seed
        rounds = [derive_seed("race", seed, what.number, i) for i in range(ROUNDS)]
        return cls(rounds, spec.measuring_seeds)


def confirming(spec: Spec) -> Confirming:
    """What a confirmation's spec says of it."""
    if spec.confirming is None:
        raise TuneAppError(f"experiment {spec.name}: is no confirmation")
    return spec.confirming


@dataclass(frozen=True)
class Measured:
    """The runs that measured the winner, in the order of their seeds, and what they say. Accuracies, not errors."""

    runs: list[Trial]

    @cached_property
    def succeeded(self) -> list[Trial]:
        """The runs that did not fail, by valid accuracy, least first."""
        ended = [run for run in self.runs if run.ended and run.state != FAILED]
        return sorted(ended, key=lambda run: (accuracy(run), run.number))

    @property
    def failed(self) -> int:
        """How many seeds failed: a loss was not finite, or there was an error."""
        return sum(run.state == FAILED for run in self.runs)

    @property
    def mean(self) -> float | None:
        """The mean valid accuracy of the seeds that did not fail."""
        return float(np.mean([accuracy(run) for run in self.succeeded])) if self.succeeded else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval by Student's t, from two seeds on."""
        return self.bounded(mean_interval)

    @property
    def next_interval(self) -> tuple[float, float] | None:
        """The interval that the valid accuracy of another seed lies in with 95 % confidence."""
        return self.bounded(next_interval)

    def bounded(self, interval: Callable[[Sequence[float]], tuple[float, float]]) -> tuple[float, float] | None:
        """An interval of accuracies, None below two seeds."""
        if len(self.succeeded) < 2:
            return None
        low, high = interval([accuracy(run) for run in self.succeeded])
        return max(0.0, low), min(1.0, high)

    @property
    def median(self) -> Trial | None:
        """The run with the median valid accuracy, of two in the middle the lesser: its weights are exported."""
        return self.succeeded[(len(self.succeeded) - 1) // 2] if self.succeeded else None


class Findings:
    """What the runs of a confirmation say so far."""

    def __init__(self, history: History) -> None:
        self.history = history
        what, seeds = confirming(history.spec), Seeds.of(history.spec)
        self.candidates = what.candidates
        index = {str(candidate.config): i for i, candidate in enumerate(what.candidates)}
        rounds = {seed: i for i, seed in enumerate(seeds.rounds)}
        self.runs: list[dict[int, Trial]] = [{} for _ in what.candidates]
        """By candidate and round."""
        measuring: list[Trial] = []
        for trial in history.trials:
            if trial.seed in rounds:
                self.runs[index[str(trial.config)]][rounds[trial.seed]] = trial
            else:
                measuring.append(trial)
        self.measured = Measured(measuring)

    @cached_property
    def standings(self) -> list[Standing]:
        """How the race stands, by candidate."""
        metric = self.history.spec.settings.metric
        return race([[error(runs[i], metric) if i in runs else None for i in range(ROUNDS)] for runs in self.runs])

    @cached_property
    def winner(self) -> int | None:
        """The index of the winner, once the race is decided: the cheapest of those that cannot be told apart."""
        if any(standing.state == "racing" for standing in self.standings):
            return None
        tie = [i for i, standing in enumerate(self.standings) if standing.state == "tie"]
        return min(tie, key=lambda i: cost(self.candidates[i]))

    def mean_accuracy(self, i: int) -> float | None:
        """The mean valid accuracy of a candidate over the rounds that it was in; of the winner, as measured.

        A failed run counts as guessing in a round.
        """
        if i == self.winner:
            return self.measured.mean
        ended = [run for run in self.runs[i].values() if run.ended]
        if not ended:
            return None
        return float(np.mean([0.1 if run.state == FAILED else accuracy(run) for run in ended]))

    def seconds(self, i: int) -> float | None:
        """How long one run of a candidate trains and validates, in the mean; None before one has ended."""
        runs = [run for run in self.runs[i].values() if run.results and run.ended]
        if i == self.winner:
            runs += self.measured.succeeded
        times = [sum(r["train_seconds"] + r["valid_seconds"] for r in run.results) for run in runs]
        return float(np.mean(times)) if times else None


def cost(candidate: Candidate) -> tuple[float, int, int]:
    """Orders candidates, cheapest first: epochs, parameters, number."""
    return candidate.epochs, candidate.parameters, candidate.trial


def accuracy(run: Trial) -> float:
    """The valid accuracy of a run at the epoch that the search chose."""
    return float(run.results[-1]["valid_accuracy"])


def error(run: Trial, metric: str) -> float | None:
    """The error of a run, None while it has not ended."""
    if not run.ended:
        return None
    if run.state == FAILED:
        return GUESSING[metric]
    value = float(run.results[-1][metric])
    return 1 - value if METRICS[metric] == "max" else value


@dataclass(frozen=True)
class Confirmation:
    """A confirmation as a reader sees it."""

    of: Experiment
    experiment: Experiment
    """The runs, kept as an experiment."""
    tests_read: int
    """How often the test images were read for this search."""

    @cached_property
    def findings(self) -> Findings:
        """What its runs say."""
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
    def tested(self) -> Entry | None:
        """The entry that tells of the test images, if they were read."""
        return self.experiment.history.tested

    @property
    def test_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the test accuracy, by Wilson."""
        tested = self.tested
        return proportion_interval(tested["correct"], tested["images"]) if tested else None

    @property
    def optimism(self) -> float | None:
        """By how much the search's best valid accuracy exceeds the mean of the same config over fresh seeds."""
        best = self.of.history.best
        if best is None or not self.findings.candidates:
            return None
        config = self.of.trial(best["trial"]).config
        return self.optimism_of(config, best["valid_accuracy"])

    def optimism_of(self, config: Config, claimed: float) -> float | None:
        """The same of a config that was raced."""
        for i, candidate in enumerate(self.findings.candidates):
            if candidate.config == config:
                mean = self.findings.mean_accuracy(i)
                return None if mean is None else claimed - mean
        return None


def confirmations(experiment: Experiment) -> list[int]:
    """The numbers of the confirmations of an experiment."""
    names = experiment_names(experiment.paths.copy or experiment.paths.root)
    numbers = (name.removeprefix("confirmation-") for name in names)
    return sorted(int(number) for number in numbers if number.isdecimal())


def load_confirmation(experiment: Experiment) -> Confirmation | None:
    """The newest confirmation of an experiment, None where there is none; `TuneAppError` if one is damaged."""
    place = experiment.paths.copy or experiment.paths.root
    kept = [load_experiment(f"confirmation-{number}", place) for number in confirmations(experiment)]
    if not kept:
        return None
    read = sum(one.history.tested is not None for one in kept)
    return Confirmation(experiment, kept[-1], read)
