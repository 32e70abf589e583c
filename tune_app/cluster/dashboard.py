"""The Ray dashboard of a search: say where it is when it has come up, tell it what happens, and leave it open."""

import time
from collections.abc import Callable

from tune_app.cluster.connect import Connection
from tune_app.cluster.signals import interruptible
from tune_app.cluster.tokens import authenticates, token_file
from tune_app.errors import TuneAppError
from tune_app.experiment.history import History
from tune_app.task.task import Metric

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_COME_UP = 60
"""After that, a dashboard is not expected any more."""


class RayDashboard:
    """The dashboard of an experiment that is searched over a connection; or none at all."""

    def __init__(
        self, connection: Connection, experiment: str, metric: Metric, announce: Callable[[str], None]
    ) -> None:
        self.ask, self.announce = connection.dashboard, announce
        self.address: str | None = None
        self.began = time.monotonic()
        self.metrics = None
        if self.ask:
            from tune_app.cluster.prometheus import Metrics  # imports what only a dashboard needs

            self.metrics = Metrics(experiment, metric)
        self.look()

    def update(self, history: History, last: bool = False) -> None:
        """Pass on what happened, and announce the address as soon as there is one. `last`: the search has ended."""
        self.look()
        if self.metrics:
            self.metrics.update(history, last)

    def look(self) -> None:
        """Announce the address if it is new, or why there will be none."""
        if self.ask is None or self.address:
            return
        try:
            address = self.ask()
            if address is None and time.monotonic() - self.began > SECONDS_TO_COME_UP:
                raise TuneAppError(f"it has not answered for {SECONDS_TO_COME_UP} s")
        except TuneAppError as error:
            self.announce(f"Ray dashboard: {error}")
            self.ask = None
            return
        if address:
            self.address = in_words(address)
            self.announce(f"Ray dashboard: {self.address}")

    def stay_open(self) -> None:
        """Wait for a signal that it may close."""
        with interruptible() as closed:
            while self.ask and not self.address and not closed.wait(SECONDS_BETWEEN_LOOKS):
                self.look()
            if self.address and not closed.is_set():
                self.announce(f"The search has ended. The Ray dashboard stays open until Ctrl-C: {self.address}")
                closed.wait()


def in_words(address: str) -> str:
    """Where the dashboard is, and where the token is that it asks for."""
    token = f" (it asks for the token in {token_file()})" if authenticates() else ""
    return f"http://{address}{token}"
