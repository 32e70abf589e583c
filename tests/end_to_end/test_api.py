"""The Python API, as a notebook uses it."""

import sys

from tests.end_to_end.conftest import succeed

NOTEBOOK = """
import subprocess, sys, threading, time
from pathlib import Path
import numpy as np
from tune_app import Where, load_experiment, load_space, search

source = load_space("quick")
print([d.name for d in source.space.dimensions], source.settings.num_samples)

children = []
def start_a_child_of_our_own():
    record = Path("experiments/first/record.jsonl")
    while not (record.exists() and '"result"' in record.read_text()):
        time.sleep(0.05)
    children.append(subprocess.Popen(["sleep", "60"]))
thread = threading.Thread(target=start_a_child_of_our_own)
thread.start()

settings = {"num_samples": np.int64(3), "max_epochs": 2}
first = search("quick", name="first", settings=settings, where=Where(data=sys.argv[1]), quiet=True)
thread.join()
print("our own child lives:", children[0].poll() is None)
children[0].kill()
best = load_experiment("first").history.best
print(first.state, len(first.history.trials), best.valid["valid_accuracy"] > 0.5)
try:
    search("quick", name="first")
except Exception as error:
    print(type(error).__name__, error)

try:
    search(settings={"num_samples": 2}, name="nowhere", where=Where(data=sys.argv[1], address="nonsense"))
except Exception as error:
    print(type(error).__name__, error)

import ray
ray.init(address="local", num_cpus=1, include_dashboard=False)
again = search("quick", name="again", settings=settings, where=Where(data=sys.argv[1]), quiet=True)
print([t.config for t in first.history.trials] == [t.config for t in again.history.trials])
print(ray.is_initialized(), load_experiment().name)
"""


def test_a_notebook_searches_twice_in_one_process_and_leaves_its_own_ray_alone(tmp_path, small_data) -> None:
    done = succeed(tmp_path, small_data, command=[sys.executable, "-c", NOTEBOOK])
    assert done.stdout.splitlines() == [
        "['level', 'lr', 'bs'] 10",
        "our own child lives: True",
        "finished 3 True",
        "TuneAppError experiments/first: exists already, allowed: another name, or tune-app remove first",
        "TuneAppError address nonsense: is no address, allowed: auto or HOST:PORT",
        "True",
        "True again",
    ]
