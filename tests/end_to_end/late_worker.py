"""A search whose second worker takes longer to start than three trials take.

python -m tests.end_to_end.late_worker FOLDER prints how many workers began to start, and how many trials each of
those trained that came up.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import ray

from tests import made_up
from tests.end_to_end.whole_search import search_all
from tests.made_up import WORKER, result_of, spec_of
from tune_app.cluster import local
from tune_app.cluster.connect import Where, cluster
from tune_app.trials import bridge
from tune_app.trials.worker import Started, Trained, TrialWorker, Work

TRIALS = 12


class Late(TrialWorker):
    """The first worker is there at once, each further one only when three trials have ended."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        self.folder = Path(os.environ["MEETING"])
        (self.folder / f"worker-{os.getpid()}").touch()
        with suppress(FileExistsError):
            (self.folder / "first").touch(exist_ok=False)
            return
        deadline = time.monotonic() + 30
        while len(list(self.folder.glob("trial-*"))) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def attempt(self, work: Work) -> Iterator[Started | Trained]:
        yield Started({**WORKER, "pid": os.getpid()})
        (self.folder / f"trial-{time.monotonic_ns()}").touch()
        yield Trained(result_of(1, 0.5), np.frombuffer(b"state", np.uint8))


def main(folder: Path) -> None:
    os.environ["MEETING"] = str(folder)
    ray.cloudpickle.register_pickle_by_value(made_up)  # workers do not import from here
    spec = spec_of("late", num_samples=TRIALS, max_epochs=1, max_concurrent_trials=2)
    two = patch.object(local, "available_cpus", lambda: 2)
    with two, patch.object(bridge, "TrialWorker", Late), cluster(Where(), {}):
        _, trials = search_all(spec, folder)
    trained = Counter(attempt["pid"] for trial in trials for attempt in trial.attempts)
    began = len(list(folder.glob("worker-*")))
    print(json.dumps({"began": began, "trained": sorted(trained.values())}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
