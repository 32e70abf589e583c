"""The next config: at random, or by Optuna's tree-structured Parzen estimator (TPE).

A config is a function of the search's seed, the trial's number and, for TPE, of the results before it: each trial
has a sampler of its own, and Optuna's study lives in memory, filled from the history.

Most trials do not come to their end, so TPE learns from values that can be compared: those at the highest rung that
enough trials have reached, as BOHB does (Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter
Optimization at Scale", ICML 2018, https://arxiv.org/abs/1807.01774). A family that learns fast is ahead at a low
rung, whatever it comes to; so families are ordered by their best so far, and values within a family alone.
"""

from collections.abc import Sequence

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune_app.engine.asha import rungs
from tune_app.experiment.dimension import Dimension
from tune_app.experiment.distribution import distribution
from tune_app.experiment.history import History
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SearchSpace
from tune_app.experiment.spec import derive_seed
from tune_app.experiment.trial import COMPLETED
from tune_app.task.result import Result
from tune_app.task.task import Config, Value

optuna.logging.set_verbosity(optuna.logging.WARNING)

ENOUGH = 10
"""Trials that TPE needs before it proposes anything; with fewer it draws at random."""
BETWEEN_FAMILIES = 1e6
"""By so much the values of a family are behind those of a better one: TPE looks at their order alone."""


class Sampler:
    """Proposes the config of one trial after the other."""

    def __init__(self, space: SearchSpace, settings: Settings, enqueued: Sequence[Config] = ()) -> None:
        self.space, self.settings = space, settings
        self.grid = list(space.grid()) if space.is_grid else []
        self.metric, baseline = settings.metric_of(space.task), space.task.baseline_config
        self.first = [] if space.outside(baseline) else [baseline]
        """The configs that are tried before any is proposed: first the baseline, where the space contains it."""
        self.first += [config for config in enqueued if config not in self.first]
        if self.first and self.grid:
            self.grid.remove(baseline)
            self.grid.insert(0, baseline)
        self.study = self.empty_study()
        self.learned: tuple[float, list[str]] | None = None
        """The epoch of the values that the study holds, and the order of families."""
        self.known: dict[int, int] = {}
        """Optuna's number of each trial that the study holds."""

    def empty_study(self) -> optuna.Study:
        """A study that knows nothing."""
        return optuna.create_study(direction="maximize" if self.metric.mode == "max" else "minimize")

    def ask(self, history: History) -> Config:
        """The config of the next trial."""
        number = len(history.trials)
        if self.grid:
            return self.grid[number]
        if number < len(self.first):
            return self.first[number]
        seed = derive_seed("sampler", self.settings.seed, number)
        informed = self.settings.sampler == "tpe" and self.learn(history)
        self.study.sampler = (
            optuna.samplers.TPESampler(seed=seed) if informed else optuna.samplers.RandomSampler(seed)
        )
        trial = self.study.ask()
        config: Config = {}
        for d in self.space.dimensions:
            if d.exists(config):
                config[d.name] = d.values[0] if is_constant(d) else suggest(trial, d)
        self.study.tell(trial, state=TrialState.FAIL)  # it holds what no record tells; `learn` adds the trial
        return self.space.task.complete(config)

    def learn(self, history: History) -> bool:
        """Take in the values at the end, or else at the highest rung, that `ENOUGH` trials have reached.

        Trials that have not come so far are running for Optuna, which then proposes nothing near them. Returns
        False where too few have reached the first rung.
        """
        for epoch in (self.settings.max_epochs, *reversed(rungs(self.settings))):
            results = {result.trial: result for result in results_at(history, epoch)}
            if len(results) >= ENOUGH:
                break
        else:
            return False
        order = list(dict.fromkeys(trial.family for trial in history.ranked()))
        if (epoch, order) != self.learned:
            self.study, self.learned, self.known = self.empty_study(), (epoch, order), {}
        there = self.study.get_trials(deepcopy=False)
        new: list[FrozenTrial] = []
        for trial in history.trials:
            value = None
            if trial.number in results:
                behind = order.index(trial.family) * BETWEEN_FAMILIES
                value = self.metric.value(results[trial.number])
                value += -behind if self.metric.mode == "max" else behind
            number = self.known.setdefault(trial.number, len(there) + len(new))
            if number >= len(there):
                new.append(self.told(trial.config, value))
            elif value is not None and there[number].state == TrialState.RUNNING:
                self.study.tell(number, value)
        self.study.add_trials(new)
        return True

    def told(self, config: Config, value: float | None) -> FrozenTrial:
        """A trial as Optuna has it."""
        existing = {d.name: d for d in self.space.existing(config) if not is_constant(d)}
        return create_trial(
            state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
            value=value,
            params={name: config[name] for name in existing},
            distributions={name: distribution(d) for name, d in existing.items()},
        )


def results_at(history: History, epoch: float) -> list[Result]:
    """The results of all families at a rung, or at the end."""
    if epoch >= history.spec.settings.max_epochs:
        return [trial.results[-1] for trial in history.trials if trial.state == COMPLETED]
    return [result for at_rungs in history.rungs.values() for result in at_rungs.get(epoch, ())]


def is_constant(dimension: Dimension) -> bool:
    """Whether there is nothing to choose."""
    return len(dimension.values) == 1


def suggest(trial: optuna.Trial, d: Dimension) -> Value:
    """A value of one dimension."""
    match distribution(d):
        case CategoricalDistribution(choices=values):
            value: Value = trial.suggest_categorical(d.name, values)  # type: ignore[assignment]
            return value
        case IntDistribution(low=low, high=high, log=log):
            return trial.suggest_int(d.name, low, high, log=log)
        case FloatDistribution(low=low, high=high, log=log):
            return trial.suggest_float(d.name, low, high, log=log)
        case other:
            raise TypeError(other)
