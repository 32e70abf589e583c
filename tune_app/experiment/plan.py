"""What a search is expected to need. A plan is kept beside the experiments, under the digest of what it plans,
and a search of the same, on as many workers, takes it into its record, so that both can be compared later.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tune_app.errors import TuneAppError

FOLDER = ".plans"
"""In the experiments directory; no experiment's name begins with a dot."""


class Value(BaseModel):
    """What all parts of a plan have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Range(Value):
    """The median of simulated searches, and what 5 % of them stay below and 5 % exceed."""

    low: float
    median: float
    high: float


class Rung(Value):
    """How many trials of a family are expected to reach an epoch, and how many of them go on.

    The last of a family is the end, `max_epochs`, behind which nobody goes on.
    """

    family: str
    epoch: float
    reach: float
    go_on: float


class Memory(Value):
    """Bytes at a time: of each worker at its peak, of the driver, and of a Ray of our own."""

    worker: int
    driver: int
    ray: int


class Plan(Value):
    """What a search of a space, with certain settings and images, is expected to need on `at_once` workers.

    seconds: as `status` counts them; start_seconds: what passes before, until Ray is there. disk: bytes.
    """

    name: str
    digest: str
    data: str
    trials: int
    at_once: int
    rungs: tuple[Rung, ...]
    epochs: Range
    seconds: Range
    start_seconds: float
    calibration_seconds: float
    memory: Memory
    disk: int


def plan_path(experiments_dir: Path, digest: str) -> Path:
    """Where the plan of a search with this digest of space and settings lies."""
    return experiments_dir / FOLDER / f"{digest}.json"


def write_plan(plan: Plan, experiments_dir: Path) -> None:
    """Keep a plan in place of an earlier one of the same; `TuneAppError` where that cannot be done."""
    path = plan_path(experiments_dir, plan.digest)
    temporary = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(plan.model_dump_json(indent=2))
        temporary.rename(path)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be written: {error.strerror}") from None


def read_plan(experiments_dir: Path, digest: str) -> Plan | None:
    """The plan of a search with this digest; None where none can be read: no search fails for that."""
    try:
        return Plan.model_validate_json(plan_path(experiments_dir, digest).read_text())
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
