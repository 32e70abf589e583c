"""Our ASHA against Ray's class."""

import random
from collections import defaultdict
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from tune_app.engine.asha import decide
from tune_app.experiment.settings import Settings


@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_decisions_equal_those_of_rays_class_on_random_histories(metric: Any) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    for seed in range(40):
        rng = random.Random(seed)
        factor, grace = rng.choice([2, 3, 4]), rng.choice([1, 2])
        mode: Literal["max", "min"] = "min" if metric == "valid_loss" else "max"
        settings = Settings(
            max_epochs=rng.randint(grace, 30),
            grace_period=grace,
            reduction_factor=factor,
            results_per_epoch=1,
            metric=metric,
        )
        ray: Any = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric=metric,
            mode=mode,
            max_t=settings.max_epochs,
            grace_period=grace,
            reduction_factor=factor,
        )
        ours: dict[float, list[float]] = defaultdict(list)
        epochs = dict.fromkeys(range(20), 0)
        trials = {n: SimpleNamespace(trial_id=str(n)) for n in epochs}
        for trial in trials.values():
            ray.on_trial_add(None, trial)
        while epochs:
            n = rng.choice(list(epochs))
            epochs[n] += 1
            value = round(rng.random(), 2)  # coarse, so that ties occur
            decision = decide(settings, mode, epochs[n], value, ours)
            if decision.rung is not None:
                ours[decision.rung].append(value)
            result = {"epoch": epochs[n], metric: value}
            assert ray.on_trial_result(None, trials[n], result) == ("STOP" if decision.stop else "CONTINUE")
            if decision.stop:
                ray.on_trial_complete(None, trials[n], result)
                del epochs[n]
