"""Records of made-up searches, written by the real `Search`, without Ray."""

import math
import random
from pathlib import Path
from typing import Any

from tests.test_search import WORKER, result_of, spec_of
from tune_app.experiment.space import load_space
from tune_app.experiment.spec import paths
from tune_app.tuning.search import Search

SCRIPT = "<script>window.hacked = 1</script>"


def tutorial_search(folder: Path, name: str, trials: int, **settings: Any) -> Search:
    """A search of the default space that has not ended: its curves rise by learning rate and family.

    One trial in thirty diverges, one raises an exception whose text is a script, one loses a worker.
    """
    source = load_space("tutorial", {"num_samples": trials, "sampler": "random", **settings})
    spec = spec_of(name, source.content, **source.settings.model_dump())
    search = Search.create(spec, paths(folder, name))
    search.begin()
    luck = random.Random(0)
    for number in range(trials):
        trial = search.history.trials[search.ask().number]
        search.started(number, {**WORKER, "pid": 1 + number % 2, "start_seconds": 0.001})
        fate = number % 30
        if fate == 27:
            search.lost(number, "its worker died", SCRIPT)
            search.waiting.clear()
            search.started(number, {**WORKER, "pid": 3 + number, "start_seconds": 0.001})
        if fate == 28:
            search.failed(number, f"Traceback\nValueError: {SCRIPT}")
            continue
        per_epoch = source.settings.results_per_epoch
        best = (0.97 if trial.family == "cnn" else 0.92) - 0.05 * abs(math.log10(float(trial.config["lr"])) + 0.7)
        for k in range(1, source.settings.max_epochs * per_epoch + 1):
            value = round(best - 0.4 / (k + 1) + luck.uniform(-0.01, 0.01), 4)
            result = result_of(k, value, per_epoch, diverged=fate == 29 and k > 3)
            decision = search.judge(number, result)
            search.report(number, result, decision)
            if decision.stop:
                break
    return search
