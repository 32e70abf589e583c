"""The frozen settings of one experiment, and where its files lie."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from tune_app.errors import TuneAppError
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SearchSpace, check_space
from tune_app.task.task import Config, Metric, Task

if TYPE_CHECKING:
    from tune_app.storage.bucket import Bucket

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DataSource(BaseModel):
    """What a search trains on. `source`: as it was given; `train`, `valid`: the tutorial's numbers of images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None
    digest: str
    train: int | None = None
    valid: int | None = None


class Candidate(BaseModel):
    """A config that a search found good: in `trial`, after `epochs`, where the metric had `value`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trial: int
    config: Config
    epochs: float
    parameters: int
    value: float


class Confirming(BaseModel):
    """A confirmation's task: it races `candidates`, best first, and measures the winner with `seeds` seeds.

    `number`: 1 for the search's first confirmation, 2 for its second; each draws other seeds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    candidates: tuple[Candidate, ...]
    seeds: int
    epochs: int
    """The epochs of a whole training in the search, for schedules."""


class Spec(BaseModel):
    """Everything that decides what a search does: written once, before anything starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    task: Task
    task_path: str | None = None
    """Where the task's file or folder was when the search began."""
    space: dict[str, Any]
    settings: Settings
    data: DataSource
    versions: dict[str, str]
    enqueued: tuple[Config, ...] = ()
    """Configs that are tried before any is proposed."""
    confirming: Confirming | None = None
    """In a confirmation, which is kept like a search."""

    def search_space(self) -> SearchSpace:
        """The meaning of `space`."""
        return check_space(self.space, self.task, f"experiment {self.name}")

    @property
    def metric(self) -> Metric:
        """The metric that is optimized: all that is ranked, shown and exported goes by it."""
        return self.settings.metric_of(self.task)

    @property
    def whole_epochs(self) -> int:
        """The epochs of a training that nothing ends early, for schedules."""
        return self.confirming.epochs if self.confirming else self.settings.max_epochs

    @property
    def home(self) -> Path | None:
        """Where the task's file or folder lies, if it is there."""
        home = Path(self.task_path) if self.task_path else None
        return home if home and home.exists() else None

    @property
    def num_trials(self) -> int:
        """How many trials there will be, at most."""
        space = self.search_space()
        return sum(1 for _ in space.grid()) if space.is_grid else self.settings.num_samples

    @cached_property
    def measuring_seeds(self) -> list[int]:
        """In a confirmation, the seeds that measure the winner."""
        what = self.confirming
        return (
            [derive_seed("measure", self.settings.seed, what.number, i) for i in range(what.seeds)] if what else []
        )

    @property
    def digest(self) -> str:
        """The first 16 digits of the SHA-256 of the task, the space and how it is searched."""
        content = json.dumps([self.task.digest, self.space, self.settings.model_dump()], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def trial_seed(self, number: int) -> int:
        """The seed of a trial's initialisation and batch order: a function of the search's seed and number."""
        return derive_seed("trial", self.settings.seed, number)


def derive_seed(*parts: str | int) -> int:
    """31 bits that depend on all parts; unlike seed + number, no two searches share a sequence."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def check_name(name: str) -> str:
    """A name that is one folder's name and cannot leave the experiments directory."""
    if not NAME.fullmatch(name):
        raise TuneAppError(
            f"name {name!r:.80} is not allowed: letters, digits, '.', '_' and '-', up to 64,"
            " beginning with a letter or digit"
        )
    return name


@dataclass(frozen=True)
class Paths:
    """The files of one experiment; no other code spells their names."""

    root: Path
    copy: "Bucket | None" = None
    """Where the files are copied to, or were read from, if they do not live on one machine alone."""

    @property
    def record(self) -> Path:
        """The record: what happened."""
        return self.root / "record.jsonl"

    def confirmation(self, number: int) -> "Paths":
        """The files of a confirmation of this experiment, which is kept as an experiment within it."""
        name = f"confirmation-{number}"
        return Paths(self.root / name, self.copy / name if self.copy else None)

    @property
    def states(self) -> Path:
        """Kept training states."""
        return self.root / "states"

    def state(self, trial: int, k: int) -> Path:
        """The training state at result k of a trial: weights and momenta as safetensors."""
        return self.states / f"{trial:05d}-{k:06d}.safetensors"
