"""The search in numbers for Prometheus: few series, however many trials there are."""

import time

from ray.util.metrics import Gauge

from tune_app.experiment.history import History
from tune_app.experiment.trial import COMPLETED, FAILED, PAUSED, PENDING, RUNNING, STOPPED
from tune_app.task.task import Metric

SECONDS_BETWEEN_UPDATES = 1.0


class Metrics:
    """Gauges `ray_tune_app_*`, tagged with the experiment's name."""

    def __init__(self, experiment: str, metric: Metric) -> None:
        keys = ("experiment",)
        self.trials = Gauge("tune_app_trials", "Trials by state", tag_keys=("experiment", "state"))
        self.best = Gauge(f"tune_app_best_{metric.name}", f"The best {metric.words} so far", tag_keys=keys)
        self.results = Gauge("tune_app_results", "Results so far", tag_keys=keys)
        self.speed = Gauge("tune_app_items_per_second", "Items trained on a second", tag_keys=keys)
        for gauge in (self.trials, self.best, self.results, self.speed):
            gauge.set_default_tags({"experiment": experiment})
        self.updated, self.items = time.monotonic(), 0

    def update(self, history: History, last: bool = False) -> None:
        """Pass on what happened; at most once a second, but for the last time."""
        now = time.monotonic()
        seconds = now - self.updated
        if seconds < SECONDS_BETWEEN_UPDATES and not last:
            return
        for state in (PENDING, RUNNING, PAUSED, STOPPED, COMPLETED, FAILED):
            self.trials.set(history.count(state), {"state": state})
        if history.best:
            self.best.set(history.metric.value(history.best))
        self.results.set(history.results)
        self.speed.set(0.0 if last else max(0, history.items - self.items) / max(seconds, 1e-9))
        self.updated, self.items = now, history.items
