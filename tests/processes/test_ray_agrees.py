"""Our ASHA against Ray's class."""

import random
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from tests.made_up import result_of
from tune_app.engine.asha import decide
from tune_app.experiment.settings import Settings
from tune_app.task.result import Result
from tune_app.task.tutorial import tutorial


@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_decisions_equal_those_of_rays_class_on_random_histories(metric: Any) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    for seed in range(40):
        rng = random.Random(seed)
        factor, grace = rng.choice([2, 3, 4]), rng.choice([1, 2])
        rungs: dict[str, Any] = {"grace_period": grace, "reduction_factor": factor}
        last = rng.randint(grace, 30)
        settings = Settings(max_epochs=last, results_per_epoch=1, metric=metric, scheduler="stopping", **rungs)
        mode: Any = "min" if metric == "valid_loss" else "max"
        ray: Any = AsyncHyperBandScheduler("epoch", metric, mode, max_t=last, **rungs)
        ours: dict[float, list[Result]] = defaultdict(list)
        epochs = dict.fromkeys(range(20), 0)
        trials = {n: SimpleNamespace(trial_id=str(n)) for n in epochs}
        for trial in trials.values():
            ray.on_trial_add(None, trial)
        while epochs:
            n = rng.choice(list(epochs))
            epochs[n] += 1
            value = round(rng.random(), 2)  # coarse, so that ties occur
            result = result_of(epochs[n], value, valid={metric: value})
            decision = decide(settings, tutorial().metrics[metric], result, ours)
            if decision.rung is not None:
                ours[decision.rung].append(result)
            told = {"epoch": epochs[n], metric: value}
            assert ray.on_trial_result(None, trials[n], told) == ("STOP" if decision.stop else "CONTINUE")
            if decision.stop:
                ray.on_trial_complete(None, trials[n], told)
                del epochs[n]
