"""What training costs on the machines of a search, as a calibration measured it: seconds and bytes, no Ray."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import mean, median

import numpy as np

from tune_app.experiment.history import History, Trial
from tune_app.experiment.record import Entry
from tune_app.tutorial.levels import LEVELS, Config

SAFE_LR = 0.01
"""Nothing diverges with it; the learning rate changes no cost."""

PARTS = 10
"""Of a calibration, which differ where the machine is busy with other things."""


@dataclass(frozen=True)
class Cost:
    """Seconds of training on an image, and of a validation, at one corner of a level."""

    level: str
    bs: int
    width: int
    image_seconds: float
    valid_seconds: float


@dataclass(frozen=True)
class Costs:
    """What results, trials, workers and the end of a search take in seconds, beside the training itself.

    `between_trials`: what the first result of a trial takes in addition. `worker`: until a worker can train its
    first trial. `closing`: from the last result to the end of the search. `paces`: how many times as long as usual
    everything took in each part of the calibration: 1 throughout on a machine that does nothing else.
    """

    corners: tuple[Cost, ...]
    between_results: float
    between_trials: float
    worker: float
    closing: float
    paces: tuple[float, ...] = (1.0,)

    def of_result(self, config: Config, images: float) -> float:
        """Seconds of one result: training on so many images, a validation, and the way to the driver and back."""
        corners = [corner for corner in self.corners if corner.level == config["level"]]
        train = interpolated(config, [(c.bs, c.width, c.image_seconds) for c in corners])
        valid = interpolated(config, [(c.bs, c.width, c.valid_seconds) for c in corners])
        return images * train + valid + self.between_results


def interpolated(config: Config, values: Sequence[tuple[int, int, float]]) -> float:
    """A cost between those measured at (bs, width): linear in the number of batches, 1/bs, and in width.

    An image costs the same in any batch, and a batch has a cost of its own, so the former is exact; wider layers
    cost rather more than in proportion, so that between the ends the latter is a little too much.
    """
    widths = sorted({width for _, width, _ in values})
    at_width = []
    for width in widths:
        points = sorted((1 / bs, value) for bs, w, value in values if w == width)
        at_width.append(np.interp(1 / config["bs"], [x for x, _ in points], [y for _, y in points]))  # type: ignore[operator]
    return float(np.interp(width_of(config), widths, at_width))


def width_of(config: Config) -> int:
    """A config's width; logistic regression has none."""
    return int(config.get("width", 1))


def corners(configs: Iterable[Config]) -> list[Config]:
    """What to measure: of each level among the configs, the extremes of bs and width, other values as they come."""
    by_level: dict[str, list[Config]] = defaultdict(list)
    for config in configs:
        by_level[str(config["level"])].append(config)
    found: list[Config] = []
    for level in (name for name in LEVELS if name in by_level):
        drawn = by_level[level]
        sizes = sorted({int(config["bs"]) for config in drawn})
        widths = sorted({width_of(config) for config in drawn})
        # The one with most momentum: the momentum's buffers cost time and memory.
        like = max(drawn, key=lambda config: float(config.get("momentum", 0)))
        for bs, width in product({sizes[0], sizes[-1]}, {widths[0], widths[-1]}):
            found.append({**like, "lr": SAFE_LR, "bs": bs, **({"width": width} if "width" in like else {})})
    return found


def measured(history: History, warm_ups: int) -> Costs:
    """The costs in the record of a calibration, whose first `warm_ups` trials are left out.

    Of each trial the first result does not count for its corner, either: it shuffles a whole epoch and trains on a
    part. The time between two results of a worker, less that of
    training and validation, is the way to the driver and back, or from one trial to the next.
    """
    by_corner: dict[tuple[str, int, int], list[Entry]] = defaultdict(list)
    for trial in history.trials[warm_ups:]:
        corner = (str(trial.config["level"]), int(trial.config["bs"]), width_of(trial.config))
        by_corner[corner] += trial.results[1:]
    began, ended = history.spans[-1]
    by_worker = results_by_worker(history.trials)
    pairs = [pair for results in by_worker.values() for pair in pairwise(results)]
    last = max(results[-1]["time"] for results in by_worker.values())
    between_results = middle(idle(a, b) for a, b in pairs if a["trial"] == b["trial"])
    between_trials = middle(idle(a, b) for a, b in pairs if a["trial"] != b["trial"])
    return Costs(
        corners=tuple(
            Cost(
                *corner,
                image_seconds=median(r["train_seconds"] / r["images"] for r in results),
                valid_seconds=median(r["valid_seconds"] for r in results),
            )
            for corner, results in by_corner.items()
        ),
        between_results=between_results,
        between_trials=max(0.0, between_trials - between_results),
        worker=median(results[0]["time"] - began - busy(results[0]) for results in by_worker.values()),
        closing=ended - last,
        paces=paces(list(by_corner.values())),
    )


def paces(by_corner: Sequence[Sequence[Entry]]) -> tuple[float, ...]:
    """The results of all corners in their order, each in units of its corner's median: the median of each part."""
    relative = []
    for results in by_corner:
        usual = median(map(busy, results))
        relative += [(result["time"], busy(result) / usual) for result in results]
    in_order = [pace for _, pace in sorted(relative)]
    parts = np.array_split(in_order, min(PARTS, len(in_order)))
    return tuple(float(np.median(part)) for part in parts)


def results_by_worker(trials: Iterable[Trial]) -> dict[tuple[str, int], list[Entry]]:
    """The results of each worker, known by node and pid, in their order."""
    found: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for trial in trials:
        for result in trial.results:
            attempt = trial.attempts[result["attempt"]]
            found[attempt["node"], attempt["pid"]].append(result)
    return {worker: sorted(results, key=lambda result: float(result["time"])) for worker, results in found.items()}


def busy(result: Entry) -> float:
    """Seconds that a worker spent on a result."""
    return float(result["train_seconds"] + result["valid_seconds"])


def idle(before: Entry, result: Entry) -> float:
    """Seconds between two results of a worker in which it neither trained nor validated."""
    return float(max(0.0, result["time"] - before["time"] - busy(result)))


def middle(values: Iterable[float]) -> float:
    """The mean of the middle half: a rare delay does not count, a common one does; 0 for none."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return mean(ordered[quarter : len(ordered) - quarter]) if ordered else 0.0
