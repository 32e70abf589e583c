"""Who proposes the trials of a search, and who decides how far each goes."""

from typing import Protocol

from tune_app.engine.asha import Decision, decide
from tune_app.engine.sampler import Sampler
from tune_app.experiment.history import History, Trial
from tune_app.task.result import Result
from tune_app.task.task import Config


class Strategy(Protocol):
    """The questions of a search. All answers follow from the history, so a resumed search gets the same ones.

    `ready` may be False for a while, as at the end of a race; `all_proposed` stays True.
    """

    @property
    def num_trials(self) -> int:
        """How many trials there will be, at most."""

    @property
    def ready(self) -> bool:
        """Whether a trial can be proposed now."""

    @property
    def all_proposed(self) -> bool:
        """Whether no other trial will be proposed."""

    def propose(self) -> tuple[Config, int]:
        """The config and seed of the next trial; it is `ready`."""

    def epochs(self, trial: Trial) -> float:
        """Up to which epoch a trial is trained if nothing stops it."""

    def decide(self, trial: Trial, result: Result) -> Decision:
        """Whether a trial goes on after a new result."""

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""


class Sampled:
    """A sampler proposes, and ASHA decides."""

    def __init__(self, history: History) -> None:
        self.history, self.spec = history, history.spec
        self.sampler = Sampler(self.spec.search_space(), self.spec.settings, self.spec.enqueued)
        for trial in history.trials:
            self.sampler.adopt(trial.config)
            if trial.ended:
                self.sampler.tell(trial)

    @property
    def num_trials(self) -> int:
        """As many as were asked for; in a grid its points."""
        return len(self.sampler.grid) or self.spec.settings.num_samples

    @property
    def ready(self) -> bool:
        """A sampler waits for nobody."""
        return not self.all_proposed

    @property
    def all_proposed(self) -> bool:
        """Whether there are that many."""
        return len(self.history.trials) >= self.num_trials

    def propose(self) -> tuple[Config, int]:
        """The sampler's next config, with the seed of the trial's number."""
        number = len(self.history.trials)
        return self.sampler.ask(number), self.spec.trial_seed(number)

    def epochs(self, _trial: Trial) -> float:
        """To max_epochs."""
        return self.spec.settings.max_epochs

    def decide(self, trial: Trial, result: Result) -> Decision:
        """ASHA's decision, among the trials of the same family."""
        at_rungs = self.history.rungs.get(trial.family, {})
        metric = self.spec.metric
        return decide(self.spec.settings, metric.mode, result.epoch, metric.value(result), at_rungs)

    def ended(self, trial: Trial) -> None:
        """Tell the sampler."""
        self.sampler.tell(trial)
