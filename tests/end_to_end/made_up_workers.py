"""Searches whose workers train nothing: python -m tests.end_to_end.made_up_workers KIND FOLDER [ADDRESS]

Prints what each trial is given.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import ray

from tests import made_up
from tests.made_up import WORKER, result_of, spec_of
from tune_app.cluster import local, resources
from tune_app.cluster.connect import Where, cluster
from tune_app.engine.search import Search
from tune_app.storage.location import paths
from tune_app.task.images import sources
from tune_app.trials import bridge
from tune_app.trials.worker import Started, Trained, TrialWorker, Work


class MadeUp(TrialWorker):
    """Workers know of each other by the files that they leave in a folder."""

    folder = Path(sys.argv[2])  # workers get this class by value

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        (self.folder / f"worker-{os.getpid()}").touch()

    def wait_for(self, pattern: str, n: int) -> None:
        deadline = time.monotonic() + 60
        while len(list(self.folder.glob(pattern))) < n:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def attempt(self, work: Work) -> Iterator[Started | Trained]:
        (self.folder / f"trial-{time.monotonic_ns()}").touch()
        yield Started({**WORKER, "pid": os.getpid(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")})
        yield Trained(result_of(1, 0.5), np.frombuffer(b"state", np.uint8))


class Late(MadeUp):
    """The first worker is there at once, each further one only when three trials have begun."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        try:
            (self.folder / "first").mkdir()
        except FileExistsError:
            self.wait_for("trial-*", 4)


class Meeting(MadeUp):
    """Each reports once four workers have begun: each then holds its share at the same time."""

    def attempt(self, work: Work) -> Iterator[Started | Trained]:
        started, trained = super().attempt(work)
        yield started
        self.wait_for("worker-*", 4)
        yield trained


def main(kind: str, folder: Path, address: str | None = None) -> None:
    ray.cloudpickle.register_pickle_by_value(made_up)  # workers do not import from here
    worker, most = {"late": (Late, 2), "meeting": (Meeting, None)}[kind]
    spec = spec_of("x", num_samples=12, max_epochs=1, max_concurrent_trials=most)
    two = patch.object(local, "available_cpus", lambda: 2)
    usable = patch.object(resources, "cuda_memory", lambda: 5_000_000_000.0)
    with two, usable, patch.object(bridge, "TrialWorker", worker), cluster(Where(address=address), {}):
        share = resources.wait_for_resources(0, spec.settings, print)
        search = Search.create(spec, paths(folder / "experiments", "x"))
        search.begin()
        bridge.run_trials(search, sources.load(), share, lambda: None, lambda: None)
        search.end("completed")
        search.close()
    print(json.dumps({"gpus": share.gpus, "at_once": share.at_once}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
