"""A plan: what a search would cost, from training for some seconds just as it would train.

The calibration is a search itself, run by Tune on the same workers, with its record in a temporary directory. Its
trials are the corners of the space (each level with its extremes of bs and width), two short results each.
"""

import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_app.errors import TuneAppError
from tune_app.experiment.history import FAILED, Trial
from tune_app.experiment.plan import Memory, Plan, write_plan
from tune_app.experiment.record import Entry, encode, read_entries
from tune_app.experiment.space import SpaceSource
from tune_app.experiment.spec import DataSource, Paths, Spec, space_digest
from tune_app.machine import peak_memory
from tune_app.tuning import reaper
from tune_app.tuning.cluster import Where, cluster, watched
from tune_app.tuning.costs import Costs, corners, measured
from tune_app.tuning.driver import check_batches, check_classes, load_data_and_ray
from tune_app.tuning.process import one_at_a_time
from tune_app.tuning.resources import Share, wait_for_resources
from tune_app.tuning.scheduler import Decision
from tune_app.tuning.search import Search
from tune_app.tuning.signals import interruptible, terminable
from tune_app.tuning.simulation import draw, expected_rungs, simulated_searches, spread
from tune_app.tutorial.levels import Config

if TYPE_CHECKING:
    from tune_app.tutorial.mnist import Mnist

SECONDS = 5.0
"""How long corners are measured again after the first time: the more often, the less a moment counts."""
RESULTS = 2
"""Of each corner: one after another trial, and one after another result."""
RESULTS_PER_EPOCH = 20
"""So few images are enough to measure, and many enough that the way to the driver does not crowd."""


class Calibration(Search):
    """Trains one corner after the other, all of them once, then again until the time is up."""

    corners: Sequence[Config]
    warm_ups: int
    """Trials that come first and do not count: a worker's first steps are slow."""
    deadline: float | None = None
    memory = 0
    """The largest peak of a worker, in bytes."""
    state = 0
    """The largest training state, in bytes."""

    @property
    def all_begun(self) -> bool:
        """Whether all corners were measured and the time is up."""
        whole = len(self.history.trials) >= self.warm_ups + len(self.corners)
        return not self.waiting and whole and self.deadline is not None and time.monotonic() > self.deadline

    def ask(self) -> Trial:
        """The next corner."""
        number = len(self.history.trials)
        if number == self.warm_ups:
            self.deadline = time.monotonic() + SECONDS
        config = self.corners[(number - self.warm_ups) % len(self.corners)]
        self.write("asked", trial=number, config=config, seed=self.spec.trial_seed(number), ask_seconds=0.0)
        return self.history.trials[number]

    def epochs(self, _trial: Trial) -> float:
        """Up to the last result that is needed."""
        return RESULTS / self.spec.settings.results_per_epoch

    def decide(self, trial: Trial, result: Mapping[str, Any]) -> Decision:
        """Nothing is stopped early."""
        return Decision(stop=result["epoch"] >= self.epochs(trial))

    def report(self, number: int, result: Mapping[str, Any], decision: Decision) -> None:
        """Note the sizes, which no record holds."""
        self.memory = max(self.memory, result["memory"])
        self.state = max(self.state, sum(array.nbytes for array in result["state"].values()))
        super().report(number, result, decision)


@dataclass(frozen=True)
class Calibrated:
    """What a calibration found. Memory, and the size of a state and of the record's entries, in bytes."""

    costs: Costs
    memory: Memory
    state: int
    result: float
    trial: float


def plan(source: SpaceSource, experiments_dir: Path, where: Where, announce: Callable[[str], None]) -> Plan:
    """Plan the search of a space, keep the plan beside the experiments, and return it.

    Raises `TuneAppError` where the search would, and where a training fails. A signal is a `KeyboardInterrupt`.
    """
    settings = source.settings
    with terminable():
        began = time.monotonic()
        data = load_data_and_ray(where.data, settings, where)
        check_classes(data, where.data, announce)
        spec = calibration_spec(source, data)
        draws = draw(source.space, settings, source.num_trials)
        labels = {"job_name": f"{source.name}: plan", "space_digest": spec.digest}
        with one_at_a_time(announce), cluster(where, labels) as connection:
            each = wait_for_resources(where.wait_for_resources, settings, announce)
            start_seconds = time.monotonic() - began
            with watched(connection, f"tune-app plan {source.name}", lambda: None):
                found = calibrate(spec, corners(draws.all), source.num_trials, data, each)
        calibration_seconds = time.monotonic() - began
    searches = simulated_searches(draws, settings, source.num_trials, each.at_once, found.costs, len(data.train.x))
    epochs = spread([one.epochs for one in searches])
    made = Plan(
        name=source.name,
        digest=space_digest(source.content, settings),
        data=data.digest(),
        trials=source.num_trials,
        at_once=min(each.at_once, source.num_trials),
        rungs=expected_rungs(searches, settings),
        epochs=epochs,
        seconds=spread([one.seconds for one in searches]),
        start_seconds=start_seconds,
        calibration_seconds=calibration_seconds,
        memory=found.memory,
        disk=disk(found, epochs.high * settings.results_per_epoch, source.num_trials, each.at_once),
    )
    write_plan(made, experiments_dir)
    return made


def calibration_spec(source: SpaceSource, data: "Mnist") -> Spec:
    """What the calibration searches: the space's trials and resources, short results and no end but its own.

    Raises `TuneAppError` for batches that the search would refuse.
    """
    images = DataSource(source=None, digest=data.digest(), train=len(data.train.x), valid=len(data.valid.x))
    spec = Spec(name="calibration", space=source.content, settings=source.settings, data=images, versions={})
    largest = check_batches(source, spec)
    short = {
        "results_per_epoch": min(
            max(RESULTS_PER_EPOCH, source.settings.results_per_epoch), images.train // largest
        ),
        "early_stopping": False,
        "sampler": "random",  # nothing is proposed
        "target": None,
        "time_budget": None,
    }
    return spec.model_copy(update={"settings": source.settings.model_copy(update=short)})


def calibrate(spec: Spec, configs: Sequence[Config], num_trials: int, data: "Mnist", each: Share) -> Calibrated:
    """Measure `configs` on the connected Ray, as many at once as a search of `num_trials` would run."""
    from tune_app.tuning.bridge import run_trials

    # Where this process is killed, what lies here goes with Ray's own files.
    with tempfile.TemporaryDirectory(prefix="tune-", dir=reaper.in_use[-1] if reaper.in_use else None) as folder:
        paths = Paths(Path(folder, spec.name))
        with closing(Calibration.create(spec, paths)) as search, interruptible() as interrupted:
            search.corners, search.warm_ups = configs, min(each.at_once, num_trials)

            def reason() -> str | None:
                if interrupted.is_set():
                    return "interrupted"
                return "failed" if search.history.count(FAILED) else None

            search.begin()
            ended_by = run_trials(search, data, each, reason, lambda: None)
            search.end(ended_by or "completed")
            if ended_by == "interrupted":
                raise KeyboardInterrupt
            failed = next((trial for trial in search.history.trials if trial.state == FAILED), None)
            if failed:
                raise TuneAppError(f"a training to measure its time failed: {failed.reason}")
            workers = {attempt["pid"] for trial in search.history.trials for attempt in trial.attempts}
            result, trial = bytes_per_entry(list(read_entries(paths.record)))
            return Calibrated(
                costs=measured(search.history, search.warm_ups),
                memory=Memory(worker=search.memory, driver=peak_memory(), ray=ray_memory(workers)),
                state=search.state,
                result=result,
                trial=trial,
            )


def bytes_per_entry(entries: Sequence[Entry]) -> tuple[float, float]:
    """Bytes of a record for each result, and for each trial beside its results."""
    sizes = dict.fromkeys(("result", "asked", "started", "ended"), 0)
    for entry in entries:
        if entry["kind"] in sizes:
            sizes[entry["kind"]] += len(encode(entry))
    results, trials = (sum(entry["kind"] == kind for entry in entries) for kind in ("result", "asked"))
    return sizes["result"] / results, (sum(sizes.values()) - sizes["result"]) / trials


def disk(found: Calibrated, results: float, trials: int, at_once: int) -> int:
    """Bytes that a search leaves at most: the record, and states of running trials and of those that ever led.

    The n-th of exchangeable trials is the best so far with probability 1/n.
    """
    led = sum(1 / n for n in range(1, trials + 1))
    record = results * found.result + trials * found.trial
    return round(record + (2 * min(at_once, trials) + led) * found.state)


def ray_memory(workers: set[int]) -> int:
    """Bytes that the processes of our own Ray hold now, but for its `workers`; 0 on a cluster that was joined.

    What processes share is divided among them (Linux calls that PSS).
    """
    total = 0
    mark = f"{reaper.MARK}={reaper.in_use[-1]}".encode() if reaper.in_use else None
    for process in Path("/proc").glob("[0-9]*") if mark else ():
        with suppress(OSError):  # it has ended, or is not ours
            if int(process.name) not in workers and mark in (process / "environ").read_bytes().split(b"\0"):
                kilobytes = re.search(r"^Pss: +(\d+)", (process / "smaps_rollup").read_text(), re.MULTILINE)
                total += int(kilobytes[1]) * 1024 if kilobytes else 0
    return total
