"""The tutorial's ladder as a table: thirteen levels, and the hyperparameters that each of them has.

This module knows names and numbers only, so that a search space can be checked without loading torch;
the code of every level stands in `logistic.py` or `cnn.py`, its family's module, under the same name. A new
level is one row here, its function there, and its script in `plain/` for those who take an export.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tune_app.errors import TuneAppError, choices

Value = str | int | float
Config = dict[str, Value]
"""One point of a search space: the level and a value for each hyperparameter that the level has."""


@dataclass(frozen=True)
class Hyperparameter:
    """What may be searched besides the level: a number of this kind, from `low` up to `high`."""

    name: str
    kind: type[int] | type[float]
    low: float
    high: float
    low_included: bool
    high_included: bool
    meaning: str

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        kind = "an integer" if self.kind is int else "a number"
        low = f"{self.low:g} or more" if self.low_included else f"greater than {self.low:g}"
        high = "" if math.isinf(self.high) else f", {'at most' if self.high_included else 'below'} {self.high:g}"
        return f"{kind}, {low}{high}"

    def check(self, value: object) -> int | float:
        """Return `value` as this hyperparameter's kind; `TuneAppError` says what is allowed."""
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.admits(value):
            return self.kind(value)
        raise TuneAppError(f"{self.name} is {value!r:.60}, allowed: {self.allowed}")

    def admits(self, value: int | float) -> bool:
        """Whether this number is allowed."""
        above = value >= self.low if self.low_included else value > self.low
        below = value <= self.high if self.high_included else value < self.high
        return above and below and (self.kind is float or int(value) == value)


HYPERPARAMETERS = {
    h.name: h
    for h in (
        Hyperparameter("lr", float, 0, 1000, False, True, "learning rate"),
        Hyperparameter("bs", int, 1, 100_000, True, True, "batch size"),
        Hyperparameter("momentum", float, 0, 1, True, False, "momentum of SGD"),
        Hyperparameter("weight_decay", float, 0, 1, True, True, "L2 penalty of SGD"),
        Hyperparameter("width", int, 1, 64, True, True, "times the channels of the CNN's hidden layers"),
    )
}


@dataclass(frozen=True)
class Level:
    """One step of the tutorial. `defaults`: the hyperparameters that it has, with the tutorial's values."""

    name: str
    section: str
    family: str
    defaults: Mapping[str, int | float]


BY_HAND = {"lr": 0.5, "bs": 64}
BY_OPTIM = {**BY_HAND, "momentum": 0.0, "weight_decay": 0.0}
CNN = {"lr": 0.1, "bs": 64, "momentum": 0.9, "weight_decay": 0.0, "width": 1}

LEVELS = {
    level.name: level
    for level in (
        Level("scratch", "Neural net from scratch (without torch.nn)", "logistic", BY_HAND),
        Level("functional", "Using torch.nn.functional", "logistic", BY_HAND),
        Level("module", "Refactor using nn.Module", "logistic", BY_HAND),
        Level("linear", "Refactor using nn.Linear", "logistic", BY_HAND),
        Level("optim", "Refactor using torch.optim", "logistic", BY_OPTIM),
        Level("dataset", "Refactor using Dataset", "logistic", BY_OPTIM),
        Level("dataloader", "Refactor using DataLoader", "logistic", BY_OPTIM),
        Level("validation", "Add validation", "logistic", BY_OPTIM),
        Level("fit", "Create fit() and get_data()", "logistic", BY_OPTIM),
        Level("cnn", "Switch to CNN", "cnn", CNN),
        Level("sequential", "Using nn.Sequential", "cnn", CNN),
        Level("wrapped", "Wrapping DataLoader", "cnn", CNN),
        Level("accelerator", "Using your accelerator", "cnn", CNN),
    )
}

TUTORIAL_CONFIG: Config = {"level": "cnn", **LEVELS["cnn"].defaults}
"""What the tutorial itself trains at the end: the baseline that a search has to beat."""


def check_level(name: object) -> Level:
    """The level of this name; `TuneAppError` names the levels that there are."""
    if not isinstance(name, str) or name not in LEVELS:
        raise TuneAppError(f"level {name!r} does not exist, {choices(name, LEVELS)}")
    return LEVELS[name]


def complete(config: Mapping[str, object]) -> Config:
    """The whole config: what is left out has the tutorial's value.

    Raises `TuneAppError` for a level that does not exist, a hyperparameter that the level has none of,
    and a value out of range.
    """
    if "level" not in config:
        raise TuneAppError(f"level is missing, allowed: {', '.join(LEVELS)}")
    level = check_level(config["level"])
    unknown = [name for name in config if name != "level" and name not in level.defaults]
    if unknown:
        allowed = choices(unknown[0], level.defaults)
        raise TuneAppError(f"level '{level.name}' has no {unknown[0]!r}, {allowed}")
    numbers = {**level.defaults, **{k: v for k, v in config.items() if k != "level"}}
    return {"level": level.name} | {name: HYPERPARAMETERS[name].check(v) for name, v in numbers.items()}


def config_words(config: Config) -> str:
    """A config in one line: cnn, lr 0.1, bs 64, momentum 0.9; a weight decay of 0 and a width of 1 go unsaid."""
    unsaid = {"weight_decay": 0, "width": 1}
    numbers = (
        f"{name} {value:.4g}"
        for name, value in config.items()
        if isinstance(value, (int, float)) and unsaid.get(name) != value
    )
    return ", ".join([str(config["level"]), *numbers])
