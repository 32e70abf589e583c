"""A search on GPUs that a node only claims to have: what each worker is given, by a trainable that trains nothing.

python -m tests.end_to_end.claimed_gpus ADDRESS FOLDER
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import ray

from tests import made_up
from tests.end_to_end.whole_search import search_all
from tests.made_up import WORKER, result_of, spec_of
from tune_app.cluster import resources
from tune_app.cluster.connect import Where, cluster
from tune_app.trials import bridge
from tune_app.trials.worker import Started, Trained, TrialWorker, Work

WORKERS = 4


class Claimed(TrialWorker):
    """Reports once all workers have begun: each then holds its share at the same time."""

    meeting = Path(sys.argv[2], "meeting")  # workers get this class by value

    def attempt(self, work: Work) -> Iterator[Started | Trained]:
        yield Started({**WORKER, "pid": os.getpid(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")})
        (self.meeting / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(self.meeting.iterdir())) < WORKERS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Trained(result_of(1, 0.5), np.frombuffer(b"state", np.uint8))


def main(address: str, folder: Path) -> None:
    ray.cloudpickle.register_pickle_by_value(made_up)  # workers do not import from here
    spec = spec_of("claimed", num_samples=8, max_epochs=1)
    usable = patch.object(resources, "cuda_memory", lambda: 5_000_000_000.0)
    with usable, patch.object(bridge, "TrialWorker", Claimed), cluster(Where(address=address), {}):
        share, trials = search_all(spec, folder)
    visible = {attempt["pid"]: attempt["gpus"] for trial in trials for attempt in trial.attempts}
    print(json.dumps({"gpus": share.gpus, "at_once": share.at_once, "visible": list(visible.values())}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
