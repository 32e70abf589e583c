"""The Ray dashboard of a search: say where it is, tell it what happens, and leave it open."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tune_app.cluster.connect import Connection
from tune_app.cluster.signals import interruptible
from tune_app.cluster.tokens import authenticates, token_file
from tune_app.experiment.history import History
from tune_app.experiment.trial import COMPLETED, FAILED, PAUSED, PENDING, RUNNING, STOPPED
from tune_app.task.task import Metric

if TYPE_CHECKING:
    from ray.util.metrics import Gauge

SECONDS_BETWEEN_UPDATES = 1.0


class RayDashboard:
    """The dashboard of an experiment that is searched over a connection; or none at all.

    It gets gauges `ray_tune_app_*` for Prometheus, tagged with the experiment: few, however many trials there are.
    """

    def __init__(
        self, connection: Connection, experiment: str, metric: Metric, announce: Callable[[str], None]
    ) -> None:
        self.address, self.announce = None, announce
        self.gauges: dict[str, Gauge] = {}
        self.updated, self.items = time.monotonic(), 0
        if connection.dashboard:
            self.gauges = gauges(experiment, metric)
            token = f" (it asks for the token in {token_file()})" if authenticates() else ""
            self.address = f"http://{connection.dashboard}{token}"
        if connection.shows_dashboard:
            announce(f"Ray dashboard: {self.address or 'it has not come up; the search goes on without it'}")

    def update(self, history: History, last: bool = False) -> None:
        """Pass on what happened, at most once a second. `last`: the search has ended."""
        seconds = time.monotonic() - self.updated
        if not self.gauges or (seconds < SECONDS_BETWEEN_UPDATES and not last):
            return
        for state in (PENDING, RUNNING, PAUSED, STOPPED, COMPLETED, FAILED):
            self.gauges["trials"].set(history.count(state), {"state": state})
        if history.best:
            self.gauges["best"].set(history.metric.value(history.best))
        self.gauges["results"].set(history.results)
        self.gauges["speed"].set(0.0 if last else max(0, history.items - self.items) / max(seconds, 1e-9))
        self.updated, self.items = self.updated + seconds, history.items

    def stay_open(self) -> None:
        """Wait for a signal that it may close."""
        if self.address:
            with interruptible() as closed:
                self.announce(f"The search has ended. The Ray dashboard stays open until Ctrl-C: {self.address}")
                closed.wait()


def gauges(experiment: str, metric: Metric) -> "dict[str, Gauge]":
    """The gauges of an experiment."""
    from ray.util.metrics import Gauge

    made = {
        "trials": Gauge("tune_app_trials", "Trials by state", tag_keys=("experiment", "state")),
        "best": Gauge(f"tune_app_best_{metric.name}", f"The best {metric.words} so far", tag_keys=("experiment",)),
        "results": Gauge("tune_app_results", "Results so far", tag_keys=("experiment",)),
        "speed": Gauge("tune_app_items_per_second", "Items trained on a second", tag_keys=("experiment",)),
    }
    for gauge in made.values():
        gauge.set_default_tags({"experiment": experiment})
    return made
