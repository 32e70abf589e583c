"""The search settings: budget, early stopping, seed and resources, from a file's `search` or from options."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tune_app.errors import TuneAppError, choices
from tune_app.task.task import Metric, Task

DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|h)?$")
UNITS = {"s": 1, "m": 60, "h": 3600, None: 1}
AUTO: Literal["auto"] = "auto"


def number_or_auto(value: object) -> object:
    """ "0.5", as a command line gives it, as a number; "auto" stays."""
    if not isinstance(value, str) or value == AUTO:
        return value
    try:
        return float(value)
    except ValueError:
        raise ValueError("auto, or a number from 0 on") from None


def as_seconds(value: object) -> object:
    """90, "90s", "1.5m" or "2h" in seconds; `ValueError` for other words."""
    if not isinstance(value, str):
        return value
    match = DURATION.match(value)
    if match is None:
        raise ValueError("seconds, or 90s, 10m, 2h")
    return float(match[1]) * UNITS[match[2]]


class Settings(BaseModel):
    """How long and how a space is searched."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)

    num_samples: int = Field(24, ge=1, le=1_000_000, description="number of trials; a grid has its own")
    sampler: Literal["random", "tpe"] = Field(
        "tpe",
        description="how configs are proposed: random, or tpe, which learns from the trials before (Optuna's)",
    )
    max_epochs: int = Field(5, ge=1, le=10_000, description="epochs of a trial that is never stopped")
    results_per_epoch: int = Field(
        4, ge=1, le=1000, description="how often an epoch is validated, and a trial may be stopped or resumed"
    )
    grace_period: float = Field(
        1, gt=0, description="epochs before a trial may pause or be stopped: the first rung"
    )
    reduction_factor: float = Field(
        3, gt=1, le=1000, description="one in so many trials passes a rung; the next rung is so many times higher"
    )
    early_stopping: bool = Field(True, description="train only promising trials further (ASHA)")
    scheduler: Literal["promotion", "stopping"] = Field(
        "promotion",
        description="how ASHA does that: trials pause at each rung and the best go on, or the worse are stopped",
    )
    metric: str | None = Field(
        None,
        description="what is optimized, such as valid_loss; unless it is said, the task's first metric",
    )
    target: float | None = Field(None, description="end the search when the metric is this good")
    patience: int | None = Field(
        None, ge=1, description="end the search when so many trials in a row have not improved the best"
    )
    min_improvement: float = Field(0, ge=0, description="by how much more a trial must improve it for patience")
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="the same seed proposes the same configs (with tpe: if trials end in the same order)",
    )
    time_budget: Annotated[float | None, BeforeValidator(as_seconds)] = Field(
        None, gt=0, description="end the search after so many seconds, or 90s, 10m, 2h"
    )
    max_concurrent_trials: int | None = Field(None, ge=1, description="at most so many trials at a time")
    max_failures: int = Field(
        2, ge=0, le=100, description="how often a trial that lost its worker is tried again, from its last result"
    )
    trial_timeout: Annotated[float | None, BeforeValidator(as_seconds)] = Field(
        None,
        gt=0,
        description="a trial hangs after so many seconds (or 90s, 10m, 2h) without a result: a new worker tries it",
    )
    cpus_per_trial: float = Field(1, gt=0, description="CPUs that each trial holds, and its threads")
    gpus_per_trial: Annotated[Literal["auto"] | Annotated[float, Field(ge=0)], BeforeValidator(number_or_auto)] = (
        Field(
            AUTO,
            description="GPUs that each trial holds, or a part of one; auto: as many trials share each as fit",
        )
    )

    @property
    def threads(self) -> int:
        """Threads of each trial: more than it has CPUs would slow all down."""
        return max(1, int(self.cpus_per_trial))

    def metric_of(self, task: Task) -> Metric:
        """The metric that is optimized."""
        return task.metric if self.metric is None else task.metrics[self.metric]


def plain(value: Any) -> Any:
    """A value from Python as a file has it: numbers and arrays of NumPy, pandas and torch are Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key.tolist() if hasattr(key, "tolist") else key: plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(one) for one in value]
    return value


def check_settings(values: object, options: Mapping[str, object], task: Task, file: str) -> Settings:
    """Settings from a file's `search` and the options that override it.

    Raises `TuneAppError` that names the file and key, or the option.
    """
    if values is not None and not isinstance(values, dict):
        raise TuneAppError(f"{file}: search is {values!r:.60}, allowed: a mapping of settings")
    given = plain({**(values or {}), **options})
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise TuneAppError(f"{source_of(key, options, file)} {explain(first, Settings)}") from None
    if settings.metric not in (None, *task.metrics):
        allowed = choices(settings.metric, task.metrics)
        raise TuneAppError(f"{source_of('metric', options, file)} is {settings.metric!r:.60}, {allowed}")
    if "scheduler" in given and not settings.early_stopping:
        where = source_of("scheduler", options, file)
        raise TuneAppError(f"{where} is {settings.scheduler!r}, allowed: only with early_stopping")
    if settings.early_stopping and settings.grace_period > settings.max_epochs:
        raise TuneAppError(
            f"{source_of('grace_period', options, file)} is {settings.grace_period:g},"
            f" allowed: at most max_epochs, {settings.max_epochs}"
        )
    return settings


def source_of(key: str, options: Mapping[str, object], file: str) -> str:
    """Where a person finds the setting: as an option, or as a key in the file."""
    return f"--{key.replace('_', '-')}" if key in options else f"{file}: search.{key}"


def explain(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Pydantic's words for one mistake as "is VALUE, allowed: ..."."""
    if error["type"] == "extra_forbidden":
        return f"is unknown, {choices(error['loc'][-1], model.model_fields)}"
    if error["type"] == "missing":
        return "is missing"
    allowed = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"is {error['input']!r:.60}, allowed: {allowed}"
