"""Searches that nobody trains: how many trials would reach each rung, and how long it would take.

Trials begin, are judged by `scheduler.decide` and make room for others as in a search, on an event queue instead
of workers. What they are worth is made up. ASHA compares ranks alone, so all that matters is this:

- Trials of a family are exchangeable: each has a quality of its own, drawn from one normal distribution.
- At a rung a trial shows its quality with an error (`NOISE`), drawn anew at each.
- A random sampler draws the configs that the search will draw. TPE learns, so after its first `RANDOM_FIRST`
  trials it proposes the better of two random draws, where families differ, too (`AHEAD`).
- Quality says nothing about cost, and nothing fails.
- A whole search runs at the pace at which some part of the calibration ran: the machine stays as busy as it was.

The figures were chosen so that whole default searches on measured learning curves agree;
`tests/simulations/test_plans.py` holds them to that.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil, inf

import numpy as np

from tune_app.experiment.plan import Range, Rung
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SearchSpace
from tune_app.experiment.spec import derive_seed
from tune_app.tuning.costs import Costs
from tune_app.tuning.sampler import Sampler
from tune_app.tuning.scheduler import decide, reached, rungs
from tune_app.tutorial.levels import LEVELS, Config

NOISE = 0.3
"""The error with which a trial shows its quality, in standard deviations of the qualities of its family: as large
as makes two rungs agree as measured learning curves do (a rank correlation of 0.91)."""
RANDOM_FIRST = 10
"""Optuna's TPE draws so many configs at random."""
AHEAD = {"logistic": 0.0, "cnn": 1.5}
"""How much better a family's trials end, in the same unit: what TPE finds out."""

SIMULATED_TRIALS, FEWEST, MOST = 10_000, 10, 300
"""How many trials are simulated in all, and the number of searches that they make up."""
LARGEST = 2000
"""The trials of a simulated search; what a larger one needs is in proportion."""
POOL = 500
"""Configs that stand for all that TPE may propose."""


@dataclass
class Simulated:
    """What became of one search. `reach`, `go_on`: trials by family and rung in epochs."""

    seconds: float = 0.0
    epochs: float = 0.0
    reach: Counter[tuple[str, float]] = field(default_factory=Counter)
    go_on: Counter[tuple[str, float]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Draws:
    """The configs of a search: the first ones as they will be, and a pool for what TPE proposes then."""

    known: tuple[Config, ...]
    pool: tuple[Config, ...] = ()

    @property
    def all(self) -> tuple[Config, ...]:
        """Every config."""
        return self.known + self.pool


@dataclass(frozen=True)
class MadeUp:
    """A trial: of which family, how long each of its results takes, and how good it is."""

    family: str
    seconds: float
    quality: float


def draw(space: SearchSpace, settings: Settings, num_trials: int) -> Draws:
    """The configs that a search of `num_trials` will try, as far as that can be known."""
    count = min(num_trials, LARGEST)
    if space.is_grid:
        grid = Sampler(space, settings).grid
        return Draws(tuple(grid[i * len(grid) // count] for i in range(count)))
    learns = settings.sampler == "tpe"
    first = sampled(space, settings, 0, min(count, RANDOM_FIRST) if learns else count)
    if not learns or count <= RANDOM_FIRST:
        return Draws(first)
    other = settings.model_copy(update={"seed": derive_seed("plan", settings.seed)})
    return Draws(first, sampled(space, other, RANDOM_FIRST, RANDOM_FIRST + POOL))


def sampled(space: SearchSpace, settings: Settings, start: int, stop: int) -> tuple[Config, ...]:
    """The configs that a random sampler proposes for the trials from `start` up to `stop`."""
    sampler = Sampler(space, settings.model_copy(update={"sampler": "random"}))
    return tuple(sampler.ask(number) for number in range(start, stop))


def trials_of(draws: Draws, seconds: Sequence[float], number: int, random: np.random.Generator) -> list[MadeUp]:
    """`number` made-up trials with these configs, whose results take `seconds` (by config, as in `draws.all`)."""
    every = [
        MadeUp(LEVELS[str(config["level"])].family, cost, quality)
        for config, cost, quality in zip(draws.all, seconds, random.standard_normal(len(seconds)), strict=True)
    ]
    trials = every[: len(draws.known)]
    while len(trials) < number:
        a, b = (every[i] for i in random.integers(len(draws.known), len(every), 2))
        better = max(a, b, key=lambda trial: trial.quality + AHEAD.get(trial.family, 0.0))
        trials.append(better)
    return trials


def simulate(
    trials: Sequence[MadeUp], settings: Settings, at_once: int, costs: Costs, random: np.random.Generator
) -> Simulated:
    """One search of these trials on `at_once` workers; a time budget ends it, a target does not."""
    per_epoch, last = settings.results_per_epoch, settings.max_epochs * settings.results_per_epoch
    judged = sorted({min(last, ceil(rung * per_epoch - 1e-9)) for rung in rungs(settings)} | {last})
    deadline = settings.time_budget or inf
    sign = 1 if settings.mode == "max" else -1
    at_rungs: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    outcome = Simulated()
    queue: list[tuple[float, int, int]] = []  # when, which trial, the how manieth of its judged results
    waiting = iter(range(len(trials)))

    def proceed(now: float, number: int, i: int) -> None:
        seconds, before = trials[number].seconds, judged[i - 1] if i else 0
        results = judged[i] - before
        if now + results * seconds > deadline:
            outcome.epochs += max(0, int((deadline - now) / seconds)) / per_epoch
            outcome.seconds = deadline
        else:
            outcome.epochs += results / per_epoch
            heapq.heappush(queue, (now + results * seconds, number, i))

    for number in islice(waiting, at_once):
        proceed(costs.worker, number, 0)
    while queue:
        now, number, i = heapq.heappop(queue)
        outcome.seconds = max(outcome.seconds, now)
        family = trials[number].family
        epoch = judged[i] / per_epoch
        value = sign * (trials[number].quality + NOISE * random.standard_normal())
        decision = decide(settings, epoch, value, at_rungs[family])
        at = settings.max_epochs if judged[i] == last else reached(settings, epoch)
        assert at is not None  # only such results are judged
        outcome.reach[family, at] += 1
        if decision.rung is not None:
            at_rungs[family][decision.rung].append(value)
        if not decision.stop:
            outcome.go_on[family, at] += 1
            proceed(now, number, i + 1)
        else:
            following = next(waiting, None)
            if following is not None:
                proceed(now + costs.between_trials, following, 0)
    outcome.seconds += costs.closing
    return outcome


def simulated_searches(
    draws: Draws, settings: Settings, num_trials: int, at_once: int, costs: Costs, images: int
) -> list[Simulated]:
    """Some searches of `num_trials`, `images` an epoch; what a part of a large one needs is scaled up."""
    random = np.random.default_rng(derive_seed("simulation", settings.seed))
    count = min(num_trials, LARGEST)
    seconds = [costs.of_result(config, images / settings.results_per_epoch) for config in draws.all]
    found = []
    for _ in range(min(MOST, max(FEWEST, SIMULATED_TRIALS // count))):
        pace = random.choice(costs.paces)
        trials = trials_of(draws, [pace * s for s in seconds], count, random)
        paced = replace(costs, worker=pace * costs.worker)
        one = simulate(trials, settings, min(at_once, num_trials), paced, random)
        found.append(scaled(one, num_trials / count, settings.time_budget or inf) if count < num_trials else one)
    return found


def scaled(one: Simulated, factor: float, budget: float) -> Simulated:
    """A search `factor` times as large, or as large as the time allows."""
    factor = max(1.0, min(factor, budget / one.seconds))
    return Simulated(
        one.seconds * factor,
        one.epochs * factor,
        Counter({key: round(n * factor) for key, n in one.reach.items()}),
        Counter({key: round(n * factor) for key, n in one.go_on.items()}),
    )


def expected_rungs(searches: Sequence[Simulated], settings: Settings) -> tuple[Rung, ...]:
    """The mean numbers of trials at each rung and at the end, by family."""
    families = dict.fromkeys(level.family for level in LEVELS.values())
    n = len(searches)
    return tuple(
        Rung(
            family=family,
            epoch=epoch,
            reach=sum(one.reach[family, epoch] for one in searches) / n,
            go_on=sum(one.go_on[family, epoch] for one in searches) / n,
        )
        for family in families
        for epoch in (*rungs(settings), float(settings.max_epochs))
        if any(one.reach[family, epoch] for one in searches)
    )


def spread(values: Sequence[float]) -> Range:
    """Median, 5 % and 95 %."""
    low, middle, high = (float(value) for value in np.percentile(values, (5, 50, 95)))
    return Range(low=low, median=middle, high=high)
