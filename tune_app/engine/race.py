"""The runs of a confirmation: those of a race, then those that measure its winner."""

from tune_app.engine.asha import Decision
from tune_app.experiment.findings import Findings, confirming, racing_seeds
from tune_app.experiment.history import History
from tune_app.experiment.race import ROUNDS
from tune_app.experiment.spec import Candidate
from tune_app.experiment.trial import Trial
from tune_app.task.result import Result
from tune_app.task.task import Config


class Race:
    """Proposes candidates with fresh seeds, and stops nothing early."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.what, self.seeds = confirming(history.spec), racing_seeds(history.spec)

    @property
    def num_trials(self) -> int:
        """The runs so far and those that there may still be."""
        findings = Findings(self.history)
        left = self.what.seeds - len(findings.measured.runs)
        for runs, standing in zip(findings.runs, findings.standings, strict=True):
            if standing.state == "racing":
                left += ROUNDS - len(runs)
        return len(self.history.trials) + left

    @property
    def ready(self) -> bool:
        """Whether there is a run to begin: at the end of the race, its last runs are waited for."""
        return self.next_run() is not None

    @property
    def all_begun(self) -> bool:
        """Whether the race is decided and all runs that measure the winner have begun."""
        return Findings(self.history).winner is not None and not self.ready

    def next_run(self) -> tuple[Candidate, int] | None:
        """The next config and seed: of the earliest round that lacks one, then of those that measure the winner.

        A round begins before the one before has been judged, so that no worker waits; a run too many is a run
        that does not count.
        """
        findings = Findings(self.history)
        if findings.winner is not None:
            left = self.history.spec.measuring_seeds[len(findings.measured.runs) :]
            return (findings.candidates[findings.winner], left[0]) if left else None
        racing = [i for i, standing in enumerate(findings.standings) if standing.state == "racing"]
        for number, seed in enumerate(self.seeds):
            for i in racing:
                if number not in findings.runs[i]:
                    return findings.candidates[i], seed
        return None

    @property
    def promotable(self) -> None:
        """Nobody pauses."""

    def propose(self) -> tuple[Config, int]:
        """The next run."""
        run = self.next_run()
        assert run is not None  # it is `ready`
        return run[0].config, run[1]

    def epochs(self, trial: Trial) -> float:
        """As far as the search chose."""
        return next(c.epochs for c in self.what.candidates if c.config == trial.config)

    def decide(self, trial: Trial, result: Result) -> Decision:
        """Nothing is stopped early."""
        return Decision("stop" if result.epoch >= self.epochs(trial) else "continue")
