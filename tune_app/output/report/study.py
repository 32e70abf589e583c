"""The record as Optuna studies in memory, for its charts, which look at completed trials only.

So every trial with a result counts as completed. Optuna is told nothing else of how long it was trained; that is
one more dimension, `epochs`.
"""

from collections.abc import Callable, Iterable

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from tune_app.experiment.distribution import distribution
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.trial import Trial
from tune_app.task.result import Result
from tune_app.task.task import Value

EPOCHS = "epochs"


def study_of_last(experiment: Experiment) -> optuna.Study:
    """A study of the last value of each trial, which its config and `epochs` led to."""
    metric = experiment.history.metric
    return study_of(experiment, lambda trial: [metric.value(trial.results[-1])], [metric.mode])


def best_of(trial: Trial) -> Result:
    """The best result of a trial that has one."""
    assert trial.best is not None
    return trial.best


def study_of(experiment: Experiment, values: Callable[[Trial], list[float]], modes: Iterable[str]) -> optuna.Study:
    """A study in which trials keep their numbers; those without a result failed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = experiment.history.spec
    space = spec.search_space()
    distributions: dict[str, BaseDistribution] = {
        d.name: distribution(d) for d in space.dimensions if len(d.values) != 1
    }
    distributions[EPOCHS] = FloatDistribution(0, spec.settings.max_epochs)
    made = optuna.create_study(directions=["maximize" if mode == "max" else "minimize" for mode in modes])
    for trial in experiment.history.trials:
        if not trial.results:
            made.add_trial(create_trial(state=TrialState.FAIL))
            continue
        names = [d.name for d in space.existing(trial.config) if d.name in distributions]
        params: dict[str, Value] = {name: trial.config[name] for name in names} | {EPOCHS: trial.epoch}
        made.add_trial(
            create_trial(
                values=values(trial), params=params, distributions={name: distributions[name] for name in params}
            )
        )
    return made
