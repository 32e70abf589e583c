"""The search as Ray's dashboard shows it: numbers for Prometheus, and the best so far beside a submitted job.

Few series, however many trials there are.
"""

import json
import os
import time

from ray.experimental import internal_kv
from ray.util.metrics import Gauge

from tune_app.experiment.history import COMPLETED, FAILED, PENDING, RUNNING, STOPPED, History

SECONDS_BETWEEN_UPDATES = 1.0
JOB = "TUNE_APP_JOB"
"""The environment variable in which a submitted job finds its id."""


class Metrics:
    """Gauges `ray_tune_app_*`, tagged with the experiment's name."""

    def __init__(self, experiment: str) -> None:
        tag = {"experiment": experiment}
        keys = ("experiment",)
        self.trials = Gauge("tune_app_trials", "Trials by state", tag_keys=("experiment", "state"))
        self.best = Gauge("tune_app_best_valid_accuracy", "Valid accuracy of the best result", tag_keys=keys)
        self.results = Gauge("tune_app_results", "Results so far", tag_keys=keys)
        self.speed = Gauge("tune_app_images_per_second", "Images trained on a second", tag_keys=keys)
        for gauge in (self.trials, self.best, self.results, self.speed):
            gauge.set_default_tags(tag)
        self.updated, self.images, self.told = time.monotonic(), 0, ""

    def update(self, history: History, last: bool = False) -> None:
        """Pass on what happened; at most once a second, but for the last time."""
        now = time.monotonic()
        seconds = now - self.updated
        if seconds < SECONDS_BETWEEN_UPDATES and not last:
            return
        for state in (PENDING, RUNNING, STOPPED, COMPLETED, FAILED):
            self.trials.set(history.count(state), {"state": state})
        if history.best:
            self.best.set(history.best["valid_accuracy"])
            best = f"{history.best['valid_accuracy']:.4f} (trial {history.best['trial']})"
            if best != self.told and JOB in os.environ:
                self.told = best
                label_job(os.environ[JOB], "best_valid_accuracy", best)
        self.results.set(history.results)
        self.speed.set(0.0 if last else max(0, history.images - self.images) / max(seconds, 1e-9))
        self.updated, self.images = now, history.images


def label_job(job: str, key: str, value: str) -> None:
    """Change the metadata of a submitted job. Ray has no call for that, but keeps them as JSON in a store."""
    where = f"_ray_internal_job_info_{job}".encode()
    content = internal_kv._internal_kv_get(where, namespace=b"job")
    if content:
        info = json.loads(content)
        info["metadata"] = {**(info.get("metadata") or {}), key: value}
        internal_kv._internal_kv_put(where, json.dumps(info).encode(), overwrite=True, namespace=b"job")
