"""The history of an experiment: its record replayed into trials, rungs and the best result so far.

The running search keeps its state in the same way, entry by entry, so what a reader sees is what it acts on.
"""

from bisect import insort
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.experiment.record import Entry, read_entries
from tune_app.experiment.settings import Settings
from tune_app.experiment.spec import Spec
from tune_app.experiment.trial import PAUSED, PENDING, RUNNING, STOPPED, Trial
from tune_app.task.result import Result
from tune_app.task.task import Metric

WHOLE = ("completed", "target", "patience")
"""Reasons for the end of a search that has nothing left to do."""


@dataclass
class History:
    """The state of an experiment after any number of entries."""

    spec: Spec
    created: float
    trials: list[Trial] = field(default_factory=list)
    rungs: dict[str, dict[float, list[Result]]] = field(default_factory=lambda: defaultdict(dict))
    """The results that reached each rung, by family and rung in epochs, the best first."""
    at_work: set[int] = field(default_factory=set)
    """The trials that have neither ended nor paused."""
    paused: dict[int, float] = field(default_factory=dict)
    """By paused trial the rung at which it waits to be promoted."""
    results: int = 0
    """How many there are."""
    items: int = 0
    """How many were trained on."""
    best: Result | None = None
    """The best result whose state was kept; among equals the cheapest."""
    improved_to: float | None = None
    """The best value when it had last improved by more than `min_improvement`."""
    improved_by: int | None = None
    """The trial whose value that is."""
    unimproved: set[int] = field(default_factory=set)
    """The other trials that have ended or paused since."""
    searches: list[Entry] = field(default_factory=list)
    """Starts, ends and extensions of searching."""
    tested: Entry | None = None
    """The entry that says what a confirmation's winner was worth on the test data."""
    spans: list[list[float]] = field(default_factory=list)
    """When each process began to search, and when it last wrote something."""

    @property
    def metric(self) -> Metric:
        """The metric that the search optimizes."""
        return self.spec.metric

    def apply(self, entry: Entry) -> None:
        """Take in the next entry."""
        if self.spans and entry.get("event") not in ("extended", "started"):  # those come before a process begins
            self.spans[-1][1] = entry["time"]
        match entry["kind"]:
            case "asked":
                family = self.spec.task.levels[entry["config"]["level"]].family
                self.trials.append(Trial(entry["trial"], entry["config"], entry["seed"], family))
                self.at_work.add(entry["trial"])
            case "started":
                trial = self.trials[entry["trial"]]
                trial.state = RUNNING
                trial.attempts.append(entry)
            case "result":
                self.add_result(Result.read(entry))
            case "otherwise":
                self.trials[entry["trial"]].otherwise = entry
            case "promoted":
                self.promote(self.trials[entry["trial"]], entry)
            case "lost":
                trial = self.trials[entry["trial"]]
                trial.losses, trial.last_loss = trial.losses + 1, entry
            case "ended":
                trial = self.trials[entry["trial"]]
                trial.state, trial.reason, trial.traceback = entry["state"], entry["reason"], entry["traceback"]
                trial.ended_at = entry["time"]
                self.add_unimproved(trial.number)
                self.at_work.discard(trial.number)
                self.paused.pop(trial.number, None)
            case "tested":
                self.tested = entry
            case "search":
                self.add_search(entry)
            case kind:
                raise TuneAppError(f"entry {entry['n']} of the record is of unknown kind {kind!r}")

    def promote(self, trial: Trial, entry: Entry) -> None:
        """Take in that a paused trial is to go on."""
        trial.state = PENDING
        trial.promotions.append(entry)
        del self.paused[trial.number]
        self.at_work.add(trial.number)

    def add_search(self, entry: Entry) -> None:
        """Take in a start, an end or an extension of searching."""
        self.searches.append(entry)
        if entry["event"] == "started":
            self.spans.append([entry["time"], entry["time"]])
            self.add_versions(entry.get("versions", self.spec.versions))
        elif entry["event"] == "extended":
            settings = Settings(**{**self.spec.settings.model_dump(), **entry["settings"]})
            self.spec = self.spec.model_copy(update={"settings": settings})
            for trial in self.trials:
                if trial.state == STOPPED and trial.results[-1].decision == "pause":  # now it may be promoted
                    trial.reason = trial.ended_at = None
                    self.pause(trial, trial.results[-1])
            self.unimproved.clear()

    def add_versions(self, versions: dict[str, str]) -> None:
        """Take in the versions that a search goes on with: of a package "2.13.0, 2.13.1" if it has changed."""
        so_far = {name: was.split(", ") for name, was in self.spec.versions.items()}
        all_ = {k: ", ".join(dict.fromkeys([*was, versions.get(k, was[-1])])) for k, was in so_far.items()}
        self.spec = self.spec.model_copy(update={"versions": all_})

    def add_result(self, result: Result) -> None:
        """Take in a result: its trial, its rung and the best so far."""
        trial = self.trials[result.trial]
        trial.results.append(result)
        self.results += 1
        self.items += result.items
        if result.rung is not None:
            insort(self.rungs[trial.family].setdefault(result.rung, []), result, key=self.at_rung)
            if result.decision == "pause":
                self.pause(trial, result)
        if not result.state:  # nobody could use it
            return
        if trial.best is None or self.rank(result) < self.rank(trial.best):
            trial.best = result
        if self.best is None or self.rank(result) < self.rank(self.best):
            self.best = result
            self.improve(result)

    def pause(self, trial: Trial, result: Result) -> None:
        """Take in that a trial waits at the rung of this result."""
        assert result.rung is not None
        trial.state = PAUSED
        self.paused[trial.number] = result.rung
        self.at_work.discard(trial.number)
        self.add_unimproved(trial.number)

    def add_unimproved(self, number: int) -> None:
        """Take in that a trial has ended or paused, unless the best is its own."""
        if number != self.improved_by:
            self.unimproved.add(number)

    def improve(self, result: Result) -> None:
        """Take in a new best result, which may be too little better to count."""
        value = self.metric.value(result)
        least = self.spec.settings.min_improvement
        if self.improved_to is None or self.metric.gain(value, self.improved_to) > least:
            self.improved_to, self.improved_by = value, result.trial
            self.unimproved.clear()

    def rank(self, result: Result) -> tuple[float, float, int, int]:
        """Orders results, best first: by the metric, then the cheaper: epochs, parameters, number."""
        gain = self.metric.gain(self.metric.value(result), 0)
        return -gain, result.epoch, result.parameters, result.trial

    def at_rung(self, result: Result) -> tuple[float, int]:
        """Orders results at a rung, best first: by the metric, then the earlier."""
        return -self.metric.gain(self.metric.value(result), 0), result.n

    def kept(self, number: int) -> Result | None:
        """The result of a trial whose state is kept after its end.

        In a search the best of all; in a confirmation that of a run that measures the winner, until one of these
        was tested: then of that one.
        """
        trial = self.trials[number]
        if self.spec.confirming is None:
            return self.best if self.best and self.best.trial == number else None
        needed = number == self.tested["trial"] if self.tested else trial.seed in self.spec.measuring_seeds
        return trial.results[-1] if needed and trial.results else None

    def ranked(self) -> list[Trial]:
        """The trials with results, the one with the best result first."""
        best = {trial.number: self.rank(trial.best) for trial in self.trials if trial.best}
        return sorted((self.trials[number] for number in best), key=lambda trial: best[trial.number])

    def count(self, state: str) -> int:
        """How many trials are in this state."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def on_target(self) -> bool:
        """Whether the best result is as good as the target, if there is one."""
        target = self.spec.settings.target
        return bool(
            self.best and target is not None and self.metric.gain(self.metric.value(self.best), target) >= 0
        )

    @property
    def out_of_patience(self) -> bool:
        """Whether so many trials have not improved the best that the search is to end, if it ever is."""
        patience = self.spec.settings.patience
        return patience is not None and self.best is not None and len(self.unimproved) >= patience

    @property
    def end(self) -> Entry | None:
        """The entry that ended the search, if the last thing that happened to it is an end."""
        return self.searches[-1] if self.searches and self.searches[-1]["event"] == "ended" else None


def replay(record: Path) -> History:
    """The history that a record tells; `TuneAppError` if it is damaged."""
    entries = read_entries(record)
    first = next(entries, None)
    if first is None:
        raise TuneAppError(
            f"{record}: is empty, its search was killed before it began;"
            f" allowed: tune-app remove {record.parent.name}"
        )
    entry = first
    try:
        history = begun(first)
        for entry in entries:
            history.apply(entry)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise TuneAppError(
            f"{record}, line {entry['n'] + 1}: the entry makes no sense: {type(error).__name__}"
        ) from None
    return history


def begun(first: Entry) -> History:
    """The history after the first entry of a record."""
    return History(Spec.model_validate(first["spec"]), first["time"])
