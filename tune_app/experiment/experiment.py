"""An experiment as a reader sees it: its history, and whether somebody is searching."""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tune_app.errors import TuneAppError
from tune_app.experiment.history import WHOLE, History
from tune_app.experiment.spec import Paths
from tune_app.experiment.trial import PAUSED, RUNNING, Trial

if TYPE_CHECKING:
    import pandas

INTERRUPTED, FINISHED = "interrupted", "finished"


@dataclass(frozen=True)
class Experiment:
    """An experiment as a reader sees it."""

    paths: Paths
    history: History
    held: bool
    """Whether a process is searching right now."""
    not_copied: str | None = None
    """The part that its bucket does not hold after a search, in one line."""

    @property
    def name(self) -> str:
        """Its name: that of its folder, which may have been renamed."""
        return self.paths.root.name

    @property
    def state(self) -> str:
        """running, finished or interrupted."""
        if self.held:
            return RUNNING
        end = self.history.end
        return FINISHED if end and end["reason"] in WHOLE else INTERRUPTED

    def trial_state(self, trial: Trial) -> str:
        """The state of a trial; what nobody is working on any more is interrupted."""
        return trial.state if trial.ended or trial.state == PAUSED or self.held else INTERRUPTED

    def trial(self, number: int) -> Trial:
        """The trial of that number."""
        if not 0 <= number < len(self.history.trials):
            raise TuneAppError(
                f"experiment {self.name} has no trial {number}, allowed: 0 to {len(self.history.trials) - 1}"
            )
        return self.history.trials[number]

    def to_pandas(self) -> "pandas.DataFrame":
        """All results, a row each, with the columns of `table.columns`."""
        from tune_app.experiment.table import results_table

        frame: pandas.DataFrame = results_table(self).to_pandas()
        return frame

    def _repr_html_(self) -> str:
        """How a notebook shows it: its state, and the last result of each trial."""
        last = self.to_pandas().drop_duplicates("trial", keep="last").dropna(axis="columns", how="all")
        table = last.to_html(index=False, max_rows=60, na_rep="")
        return f"<p>{escape(self.name)}: {self.state}, {len(self.history.trials)} trials</p>{table}"
