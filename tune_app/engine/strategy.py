"""Who proposes the trials of a search, and who decides how far each goes."""

from dataclasses import replace
from typing import Protocol

from tune_app.engine.asha import Decision, decide, promotable
from tune_app.engine.sampler import Sampler
from tune_app.experiment.history import History
from tune_app.experiment.trial import Trial
from tune_app.task.result import Result
from tune_app.task.task import Config


class Strategy(Protocol):
    """The questions of a search. All answers follow from the history, so a resumed search gets the same ones.

    `ready` may be False for a while, as at the end of a race; `all_begun` stays True.
    """

    @property
    def num_trials(self) -> int:
        """How many trials there will be, at most."""

    @property
    def ready(self) -> bool:
        """Whether a trial can be proposed now."""

    @property
    def all_begun(self) -> bool:
        """Whether no other trial will be proposed or promoted."""

    @property
    def promotable(self) -> Result | None:
        """The result from which a paused trial is to go on now, if there is one."""

    def propose(self) -> tuple[Config, int]:
        """The config and seed of the next trial; it is `ready`."""

    def epochs(self, trial: Trial) -> float:
        """Up to which epoch a trial is trained if nothing stops it."""

    def decide(self, trial: Trial, result: Result) -> Decision:
        """Whether a trial goes on after a new result."""


class Sampled:
    """A sampler proposes, and ASHA decides."""

    def __init__(self, history: History) -> None:
        self.history, self.spec = history, history.spec
        self.sampler = Sampler(self.spec.search_space(), self.spec.settings, self.spec.enqueued)

    @property
    def num_trials(self) -> int:
        """As many as were asked for; in a grid its points."""
        return len(self.sampler.grid) or self.spec.settings.num_samples

    @property
    def ready(self) -> bool:
        """A sampler waits for nobody."""
        return len(self.history.trials) < self.num_trials

    @property
    def all_begun(self) -> bool:
        """Whether all have begun and none can be promoted, now or after a result of one that is at work."""
        pauses = self.spec.settings.early_stopping and self.spec.settings.scheduler == "promotion"
        return not self.ready and not (pauses and self.history.at_work) and self.promotable is None

    def propose(self) -> tuple[Config, int]:
        """The sampler's next config, with the seed of the trial's number."""
        number = len(self.history.trials)
        return self.sampler.ask(self.history), self.spec.trial_seed(number)

    @property
    def promotable(self) -> Result | None:
        """The one that ASHA promotes. In the end the best of each family goes on, however few there were."""
        history = self.history
        at_work = {history.trials[number].family for number in history.at_work}
        finishing = () if self.ready else history.rungs.keys() - at_work
        return promotable(self.spec.settings, history.rungs, history.paused, finishing)

    def epochs(self, _trial: Trial) -> float:
        """To max_epochs."""
        return self.spec.settings.max_epochs

    def decide(self, trial: Trial, result: Result) -> Decision:
        """ASHA's decision, among the trials of the same family.

        The baseline does not pause: the end of a search compares with it, and its family's best is known early.
        """
        decision = decide(self.spec.settings, self.spec.metric, result, self.history.rungs.get(trial.family, {}))
        if decision.action == "pause" and trial.number == 0 and trial.config == self.spec.task.baseline_config:
            return replace(decision, action="continue")
        return decision
