"""A trial: one config, its attempts and results, and its end."""

from dataclasses import dataclass, field

from tune_app.experiment.record import Entry
from tune_app.task.result import Result
from tune_app.task.task import Config

PENDING, RUNNING, PAUSED = "pending", "running", "paused"
STOPPED, COMPLETED, FAILED = "stopped", "completed", "failed"


@dataclass
class Trial:
    """One config and what became of it."""

    number: int
    config: Config
    seed: int
    family: str
    """The trials that it is compared with."""
    state: str = PENDING
    reason: str | None = None
    traceback: str | None = None
    losses: int = 0
    """How often its worker died or hung."""
    last_loss: Entry = field(default_factory=dict)
    ended_at: float | None = None
    attempts: list[Entry] = field(default_factory=list)
    promotions: list[Entry] = field(default_factory=list)
    """The entries that had it go on after a pause."""
    results: list[Result] = field(default_factory=list)
    best: Result | None = None
    """The best of its results whose states were kept."""
    otherwise: Entry | None = None
    """The entry of its first result that was computed again and came out otherwise."""

    @property
    def epoch(self) -> float:
        """How far it was trained."""
        return self.results[-1].epoch if self.results else 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (STOPPED, COMPLETED, FAILED)

    def passed(self, result: Result) -> bool:
        """Whether it went on from one of its results that reached a rung, at once or after a pause."""
        return result.decision == "continue" or any(entry["k"] == result.k for entry in self.promotions)

    @property
    def resumable(self) -> list[Result]:
        """The results that it may go on from, whose states were kept: the last two, of a paused trial the last."""
        most = 0 if self.ended else 1 if self.state == PAUSED else 2
        return [result for result in self.results if result.state][-most:] if most else []
