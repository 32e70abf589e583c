"""The next config: at random, or by Optuna's tree-structured Parzen estimator (TPE).

A config is a function of the search's seed, the trial's number and, for TPE, of the trials asked and ended
before it: each trial has a sampler of its own, and Optuna's study lives in memory, filled from the history.
"""

from collections.abc import Sequence

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tune_app.experiment.dimension import Dimension
from tune_app.experiment.distribution import distribution
from tune_app.experiment.history import FAILED, STOPPED, Trial
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SearchSpace
from tune_app.experiment.spec import derive_seed
from tune_app.task.task import Config, Value

optuna.logging.set_verbosity(optuna.logging.WARNING)


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
        self.study = optuna.create_study(direction="maximize" if self.metric.mode == "max" else "minimize")

    def ask(self, number: int) -> Config:
        """The config of trial `number`."""
        if self.grid:
            return self.grid[number]
        if number < len(self.first):
            self.adopt(self.first[number])
            return self.first[number]
        seed = derive_seed("sampler", self.settings.seed, number)
        if self.settings.sampler == "random":
            self.study.sampler = optuna.samplers.RandomSampler(seed)
        else:
            self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        trial = self.study.ask()
        config: Config = {}
        for d in self.space.dimensions:
            if d.exists(config):
                config[d.name] = d.values[0] if is_constant(d) else suggest(trial, d)
        return self.space.task.complete(config)

    def adopt(self, config: Config) -> None:
        """Take in the config of the next trial, which was not proposed here."""
        if self.grid or self.settings.sampler == "random":
            return
        existing = {d.name: d for d in self.space.existing(config) if not is_constant(d)}
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params={name: config[name] for name in existing},
                distributions={name: distribution(d) for name, d in existing.items()},
            )
        )

    def tell(self, trial: Trial) -> None:
        """Take in what became of a trial: complete, stopped at an epoch, or without a value."""
        if self.grid or self.settings.sampler == "random":
            return
        values = [self.metric.value(result) for result in trial.results]
        if trial.state == FAILED or not values:
            self.study.tell(trial.number, state=TrialState.FAIL)
        elif trial.state == STOPPED:
            # Optuna ranks stopped trials behind completed ones, by how far they came and then by value.
            running = optuna.Trial(self.study, self.study.get_trials(deepcopy=False)[trial.number]._trial_id)
            running.report(values[-1], step=len(values))
            self.study.tell(trial.number, state=TrialState.PRUNED)
        else:
            best = max(values) if self.metric.mode == "max" else min(values)
            self.study.tell(trial.number, best)


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
