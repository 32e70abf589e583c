"""One dimension of a search space: a domain of values, and when it exists."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from tune_app.errors import TuneAppError, choices
from tune_app.experiment.settings import explain
from tune_app.task.task import KINDS, Config, Task, Value

RANGES = ("uniform", "loguniform", "randint")
DOMAINS = ("choice", "grid", *RANGES)

YamlValue = StrictBool | StrictStr | StrictInt | StrictFloat
Bounds = Annotated[list[StrictInt | StrictFloat], Field(min_length=2, max_length=2)]
Values = Annotated[list[YamlValue], Field(min_length=1, max_length=1000)]


class Domain(BaseModel):
    """One dimension in a file: exactly one of the domains, and optionally when it exists."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,  # a set has no order, and no JSON
        allow_inf_nan=False,
        json_schema_extra={"oneOf": [{"required": [domain]} for domain in DOMAINS]},
    )

    choice: Values | None = Field(None, description="one of these values")
    grid: Values | None = Field(None, description="each of these values, once")
    uniform: Bounds | None = Field(None, description="a number between low and high")
    loguniform: Bounds | None = Field(None, description="the same, uniform in its logarithm")
    randint: Bounds | None = Field(None, description="an integer from low to high, both included")
    when: dict[str, Values] | None = Field(
        None, description="exists only where another dimension has one of these values"
    )


@dataclass(frozen=True)
class Dimension:
    """One dimension. `domain`: constant, choice or grid with `values`; a range with `low` and `high`."""

    name: str
    domain: str
    values: tuple[Value, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    is_integer: bool = False
    """Whether a range is one of integers."""

    @property
    def largest(self) -> float:
        """The largest number that can be proposed."""
        return self.high if self.domain in RANGES else max(float(value) for value in self.values)

    def exists(self, config: Config) -> bool:
        """Whether the dimension exists in a config whose earlier dimensions are set."""
        return all(config.get(other) in values for other, values in self.when)

    def contains(self, value: Value) -> bool:
        """Whether `value` can be proposed."""
        if self.domain in RANGES:
            return isinstance(value, (int, float)) and self.low <= value <= self.high
        return value in self.values

    def __str__(self) -> str:
        if self.domain in RANGES:
            integers = " integer" if self.is_integer and self.domain != "randint" else ""
            text = f"{self.domain}{integers} from {self.low:g} to {self.high:g}"
        elif self.domain == "constant":
            text = str(self.values[0])
        else:
            text = f"{self.domain} of {', '.join(map(str, self.values))}"
        conditions = (f"{other} is {' or '.join(map(str, values))}" for other, values in self.when)
        return f"{text}, when {' and '.join(conditions)}" if self.when else text


def check_dimension(name: object, value: object, task: Task, where: str) -> Dimension:
    """One dimension of a file, its own values checked."""
    if name != "level" and (not isinstance(name, str) or name not in task.hyperparameters):
        raise TuneAppError(f"{where} is unknown, {choices(name, ['level', *task.hyperparameters])}")
    if not isinstance(value, dict):
        return Dimension(str(name), "constant", (check_value(str(name), value, task, where),))
    unknown = [key for key in value if key not in (*DOMAINS, "when")]
    if unknown:
        raise TuneAppError(f"{where}.{unknown[0]} is unknown, {choices(unknown[0], [*DOMAINS, 'when'])}")
    domains = [key for key in value if key in DOMAINS]
    if len(domains) != 1:
        raise TuneAppError(
            f"{where} has {' and '.join(domains) or 'no domain'}, allowed: one of {', '.join(DOMAINS)}"
        )
    if value[domains[0]] is None:
        raise TuneAppError(f"{where}.{domains[0]} is empty, allowed: a list of values or [low, high]")
    if domains[0] in RANGES and (name == "level" or not task.hyperparameters[name].is_number):
        what = "names" if name == "level" else KINDS[task.hyperparameters[name].kind]
        raise TuneAppError(f"{where}.{domains[0]} is a range of {what}, allowed: choice, grid or a constant")
    try:
        Domain.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(
            str(part) for part in first["loc"] if not str(part).startswith(("list", "int", "float", "str"))
        )
        raise TuneAppError(f"{where}.{key} {explain(first, Domain)}") from None
    domain = domains[0]
    when = tuple((other, tuple(values)) for other, values in (value.get("when") or {}).items())
    if "when" in value and not when:
        raise TuneAppError(f"{where}.when is empty, allowed: a dimension and the values for which this one exists")
    if domain in RANGES:
        low, high = check_range(str(name), domain, value[domain], task, where)
        integer = task.hyperparameters[str(name)].kind == "int"
        return Dimension(str(name), domain, low=low, high=high, when=when, is_integer=integer)
    values = tuple(check_value(str(name), v, task, f"{where}.{domain}") for v in value[domain])
    if len(set(values)) != len(values):
        raise TuneAppError(f"{where}.{domain} is {value[domain]}, allowed: each value once")
    return Dimension(str(name), domain, values, when=when)


def check_value(name: str, value: object, task: Task, where: str) -> Value:
    """A value of one dimension."""
    try:
        return task.check(name, value)
    except TuneAppError as error:
        raise TuneAppError(f"{where}: {error}") from None


def check_range(name: str, domain: str, bounds: list[float], task: Task, where: str) -> tuple[float, float]:
    """The bounds of uniform, loguniform or randint."""
    integer = task.hyperparameters[name].kind == "int"
    if integer != (domain == "randint") and not (integer and domain == "loguniform"):
        kind, allowed = ("integers", "randint") if integer else ("fractions", "uniform")
        raise TuneAppError(
            f"{where}.{domain} does not fit: {name} takes {kind}, allowed: {allowed}, loguniform, choice, grid"
        )
    if domain == "loguniform" and min(bounds) <= 0:
        raise TuneAppError(f"{where}.{domain} is {bounds}, allowed: bounds greater than 0")
    low, high = (float(check_value(name, bound, task, f"{where}.{domain}")) for bound in bounds)
    if not low < high:
        raise TuneAppError(f"{where}.{domain} is {bounds}, allowed: [low, high] with low below high")
    return low, high
