"""The driver's time by task, for the record."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

OTHER = "other"


class Stopwatch:
    """Adds up the seconds of each task; of tasks within each other the innermost counts."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.task, self.since = OTHER, time.perf_counter()

    @contextmanager
    def on(self, task: str) -> Iterator[None]:
        """Count what happens meanwhile as `task`."""
        outer = self.task
        self.switch(task)
        try:
            yield
        finally:
            self.switch(outer)

    def switch(self, task: str) -> None:
        """Count what happened up to now as the task before."""
        now = time.perf_counter()
        self.seconds[self.task] += now - self.since
        self.task, self.since = task, now

    def take(self, *tasks: str) -> dict[str, float]:
        """The seconds of these tasks since they were taken last, as the record's fields: "write_seconds"."""
        self.switch(self.task)
        return {f"{task}_seconds": self.seconds.pop(task, 0.0) for task in tasks}
