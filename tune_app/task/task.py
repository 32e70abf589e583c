"""The declaration of a task: its levels, their hyperparameters and its metrics, as names and numbers.

Nothing here needs torch, and nothing executes a task: `declaration.py` reads all of it from the text of the task's
files. The declaration stands in the record, so that an experiment can be read without its task.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from tune_app.errors import TuneAppError, choices

if TYPE_CHECKING:
    from tune_app.task.result import Result

Value = StrictBool | StrictInt | StrictFloat | StrictStr
Config = dict[str, Value]
"""One point of a search space: the level and a value for each hyperparameter that the level has."""
Kind = Literal["bool", "int", "float", "str"]
KINDS: dict[Kind, str] = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "text"}
LOSS = "valid_loss"
"""The metric that every task has."""
COLUMNS = (
    *("trial", "state", "reason", "level", "seed", "family", "attempt", "node", "time", "k", "epoch"),
    *("train_loss", "items", "parameters", "train_seconds", "valid_seconds"),
    *("decision", "rung", "cutoff", "compared"),
)
"""The columns of every results table; no hyperparameter may have such a name."""


class Interval(BaseModel):
    """The numbers that are allowed: greater than `gt`, `ge` or more, less than `lt`, at most `le`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def __contains__(self, value: float) -> bool:
        return not (
            (self.gt is not None and value <= self.gt)
            or (self.ge is not None and value < self.ge)
            or (self.lt is not None and value >= self.lt)
            or (self.le is not None and value > self.le)
            or math.isnan(value)
        )

    def __str__(self) -> str:
        ends = (
            (self.gt, "greater than {:g}"),
            (self.ge, "{:g} or more"),
            (self.lt, "below {:g}"),
            (self.le, "at most {:g}"),
        )
        return ", ".join(words.format(end) for end, words in ends if end is not None)

    @property
    def low(self) -> float:
        """The lower end."""
        return next((end for end in (self.gt, self.ge) if end is not None), -math.inf)

    @property
    def high(self) -> float:
        """The upper end."""
        return next((end for end in (self.lt, self.le) if end is not None), math.inf)


class Hyperparameter(BaseModel):
    """One keyword argument of the levels that have it.

    interval: of a number. options: what text may be, if not just any.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    interval: Interval = Interval()
    options: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def is_number(self) -> bool:
        """True if a range of it can be searched."""
        return self.kind in ("int", "float")

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.options:
            return ", ".join(self.options)
        return ", ".join(filter(None, (KINDS[self.kind], str(self.interval))))

    def typed(self, text: str) -> Value:
        """A value as it was typed, to be checked."""
        if self.kind == "bool":
            return {"true": True, "false": False}.get(text.lower(), text)
        if self.is_number:
            with suppress(ValueError):
                return float(text) if set(text) & set(".eEn") else int(text)
        return text

    def check(self, value: object) -> Value:
        """Return `value` as this hyperparameter's kind; `TuneAppError` says what is allowed."""
        if isinstance(value, bool):
            if self.kind == "bool":
                return value
        elif isinstance(value, str):
            if self.kind == "str" and (not self.options or value in self.options):
                return value
        elif isinstance(value, (int, float)) and self.is_number:
            with suppress(OverflowError):  # an integer that no float can be
                if math.isfinite(value) and value in self.interval:
                    if self.kind == "float":
                        return float(value)
                    if int(value) == value:
                        return int(value)
        raise TuneAppError(f"{self.name} is {value!r:.60}, allowed: {self.allowed}")


class Level(BaseModel):
    """One way to train.

    summary: the first line of its docstring. family: the file that it stands in. defaults: the value of each of its
    hyperparameters where nobody chooses another. facts: what it asks to be told of the run (see `FACTS`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    summary: str
    family: str
    defaults: dict[str, Value]
    facts: tuple[str, ...] = ()


FACTS = ("epochs", "device", "seed")
"""The facts of a run that a level may ask for, as arguments without a default; epochs: of a whole training."""


class Metric(BaseModel):
    """One number of every result, measured on the valid data. mode: which way is better."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    mode: Literal["max", "min"]
    interval: Interval = Interval()

    @property
    def best_possible(self) -> float:
        """The best value that there can be, infinite where none is known."""
        return self.interval.high if self.mode == "max" else self.interval.low

    @property
    def words(self) -> str:
        """Its name for people: valid loss."""
        return self.name.replace("_", " ")

    @property
    def plural(self) -> str:
        """The name of a list of them: valid_losses."""
        if self.name.endswith("y"):
            return f"{self.name[:-1]}ies"
        return f"{self.name}{'es' if self.name.endswith('s') else 's'}"

    @property
    def words_of_many(self) -> str:
        """Several of them for people: valid losses."""
        return self.plural.replace("_", " ")

    @property
    def on_test(self) -> str:
        """The name of the same number on the test data: test_loss."""
        return self.name.replace("valid_", "test_", 1)

    def value(self, result: "Result") -> float:
        """Its value in a result."""
        return result.valid[self.name]

    def gain(self, value: float, other: float) -> float:
        """The gain of `value` over `other`, below 0 if it is worse."""
        return value - other if self.mode == "max" else other - value

    def bounded(self, interval: tuple[float, float]) -> tuple[float, float]:
        """The part of an interval in which values can lie."""
        return max(self.interval.low, interval[0]), min(self.interval.high, interval[1])


class Task(BaseModel):
    """What is trained. `files`: the text of each of its files by their path within it; none of the tutorial's,
    which come with this package. `metrics` are in the order in which they are declared, and the loss is the last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    levels: dict[str, Level]
    hyperparameters: dict[str, Hyperparameter]
    metrics: dict[str, Metric]
    baseline: str
    """The level of trial 0."""
    modules: dict[str, str]
    """The module of each function that declares something: a level, a metric, what loads data."""
    loads: tuple[str, ...] = ()
    """The functions `load`, `load_test` and `read_input`, as far as it has them."""
    files: dict[str, str] = {}

    @model_validator(mode="after")
    def stays_inside(self) -> Self:
        """Refuse a record by which files would be written, or executed, elsewhere than in a task's folder."""
        paths = map(PurePosixPath, self.files)
        if any(path.is_absolute() or ".." in path.parts for path in paths):
            raise ValueError("a file of the task lies outside its folder")
        if self.files and not {f"{name}.py" for name in self.modules.values()} <= self.files.keys():
            raise ValueError("a module of the task is none of its files")
        return self

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of its files, or, where there are none, of its declaration."""
        content = json.dumps(self.files or self.model_dump(), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def digest(self) -> str:
        """The first 16 digits of that, for people."""
        return self.sha256[:16]

    @property
    def metric(self) -> Metric:
        """The metric that a search optimizes unless it is told another: the first."""
        return next(iter(self.metrics.values()))

    @property
    def families(self) -> list[str]:
        """The families of its levels, each once."""
        return list(dict.fromkeys(level.family for level in self.levels.values()))

    @property
    def baseline_config(self) -> Config:
        """The config that a search has to beat."""
        return self.complete({"level": self.baseline})

    def level(self, name: object) -> Level:
        """The level of this name; `TuneAppError` names the levels that there are."""
        if not isinstance(name, str) or name not in self.levels:
            raise TuneAppError(f"level {name!r} does not exist, {choices(name, self.levels)}")
        return self.levels[name]

    def check(self, name: str, value: object) -> Value:
        """A value of the level or of a hyperparameter; `TuneAppError` says what is allowed."""
        return self.level(value).name if name == "level" else self.hyperparameters[name].check(value)

    def complete(self, config: Mapping[str, object]) -> Config:
        """The whole config: what is left out has its level's default.

        Raises `TuneAppError` for a level that does not exist, a hyperparameter that the level has none of,
        and a value out of range.
        """
        if "level" not in config:
            raise TuneAppError(f"level is missing, allowed: {', '.join(self.levels)}")
        level = self.level(config["level"])
        unknown = [name for name in config if name != "level" and name not in level.defaults]
        if unknown:
            allowed = choices(unknown[0], level.defaults)
            raise TuneAppError(f"level '{level.name}' has no {unknown[0]!r}, {allowed}")
        values = {**level.defaults, **{name: value for name, value in config.items() if name != "level"}}
        return {"level": level.name} | {name: self.hyperparameters[name].check(v) for name, v in values.items()}


def config_words(config: Config) -> str:
    """A config in one line: cnn, lr 0.1, bs 64, momentum 0.9; a weight decay of 0 and a width of 1 go unsaid."""
    unsaid = {"weight_decay": 0, "width": 1}
    values = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in config.items()
        if name != "level" and unsaid.get(name) != value
    )
    return ", ".join([str(config["level"]), *values])
