"""The Ray dashboard of a search: say where it is, tell it what happens, and leave it open."""

from collections.abc import Callable

from tune_app.cluster.connect import Connection
from tune_app.cluster.signals import interruptible
from tune_app.cluster.tokens import authenticates, token_file
from tune_app.experiment.history import History
from tune_app.task.task import Metric


class RayDashboard:
    """The dashboard of an experiment that is searched over a connection; or none at all."""

    def __init__(
        self, connection: Connection, experiment: str, metric: Metric, announce: Callable[[str], None]
    ) -> None:
        self.address, self.announce = connection.dashboard, announce
        self.metrics = None
        if self.address:
            from tune_app.cluster.prometheus import Metrics  # imports what only a dashboard needs

            self.metrics = Metrics(experiment, metric)
            token = f" (it asks for the token in {token_file()})" if authenticates() else ""
            self.address = f"http://{self.address}{token}"
        if connection.shows_dashboard:
            announce(f"Ray dashboard: {self.address or 'it has not come up; the search goes on without it'}")

    def update(self, history: History, last: bool = False) -> None:
        """Pass on what happened. `last`: the search has ended."""
        if self.metrics:
            self.metrics.update(history, last)

    def stay_open(self) -> None:
        """Wait for a signal that it may close."""
        if self.address:
            with interruptible() as closed:
                self.announce(f"The search has ended. The Ray dashboard stays open until Ctrl-C: {self.address}")
                closed.wait()
