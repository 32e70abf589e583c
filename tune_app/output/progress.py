"""The progress of a search: a live table on a terminal, elsewhere a line for each trial that has ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tune_app.experiment.history import History
from tune_app.experiment.trial import COMPLETED, FAILED, PAUSED, PENDING, STOPPED, Trial
from tune_app.output.summary import seconds_left
from tune_app.output.terminal import can_draw, console, plain_table
from tune_app.output.view import duration
from tune_app.task.task import Metric, config_words

SECONDS_BETWEEN_REFRESHES = 0.25
BEST_SHOWN = 5
Told = tuple[int, str, float]
"""A trial's number, state and epoch, of which a line was printed."""


class Progress:
    """Shows the history of a search, refreshed a few times a second by the search itself."""

    def __init__(self, out: Console, live: Live | None) -> None:
        self.out, self.live = out, live
        self.began = time.monotonic()
        self.refreshed = 0.0
        self.told: set[Told] = set()

    def announce(self, text: str) -> None:
        """Print a line."""
        self.out.print(text, soft_wrap=True)

    def show(self, history: History, num_trials: int) -> None:
        """Show what happened."""
        now = time.monotonic()
        if now - self.refreshed < SECONDS_BETWEEN_REFRESHES and history.end is None:
            return
        if not self.refreshed:  # what had ended before a resumption was told then
            self.told = {told(trial) for trial in history.trials}
        self.refreshed = now
        if self.live:
            self.live.update(self.table(history, num_trials), refresh=True)
        else:
            self.tell_ended(history)

    def tell_ended(self, history: History) -> None:
        """Print a line for each trial that has ended or paused since the last time."""
        for trial in history.trials:
            if (trial.ended or trial.state == PAUSED) and told(trial) not in self.told:
                self.told.add(told(trial))
                how = words(trial, history.metric)
                self.announce(f"trial {trial.number}: {trial.state}, {how}; {config_words(trial.config)}")

    def table(self, history: History, num_trials: int) -> RenderableType:
        """The counts, the running trials and the best ones."""
        metric = history.metric
        rows = plain_table("trial", "epoch", metric.words, "state", "config", text=("state", "config"))
        rows.columns[-1].no_wrap = True
        running = [history.trials[number] for number in sorted(history.at_work)]
        best = [trial for trial in history.ranked() if trial.number not in history.at_work][:BEST_SHOWN]
        for trial in [*best, *running]:
            value = f"{metric.value(trial.results[-1]):.4f}" if trial.results else ""
            state = "starting" if trial.state == PENDING else trial.state
            rows.add_row(str(trial.number), f"{trial.epoch:g}", value, state, config_words(trial.config))
        states = (*([PAUSED] if history.paused else []), COMPLETED, STOPPED, FAILED)
        counts = ", ".join(f"{history.count(s)} {s}" for s in states)
        head = f"{len(history.trials) - len(running)} of {num_trials} trials: {counts}"
        if history.best:
            head += f" | best {metric.words} {metric.value(history.best):.4f} (trial {history.best.trial})"
        head += f" | {duration(time.monotonic() - self.began)}"
        if left := seconds_left(history, num_trials):
            head += f", about {duration(left)} left"
        return Group(rows, Text(head))


def told(trial: Trial) -> Told:
    """What a line that was printed is remembered by."""
    return trial.number, trial.state, trial.epoch


def words(trial: Trial, metric: Metric) -> str:
    """The end of a trial, or its pause, in words."""
    if trial.state in (COMPLETED, PAUSED):
        return f"{metric.words} {metric.value(trial.results[-1]):.4f} at epoch {trial.epoch:g}"
    return str(trial.reason)


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """The display that fits stderr; stdout holds the outcome alone."""
    out = console(stderr=True, quiet=quiet)
    if quiet or not can_draw(out):
        yield Progress(out, None)
        return
    with Live(console=out, auto_refresh=False, transient=True) as live:
        yield Progress(out, live)
