"""An exported config: read it, train it again without Tune, and compare the results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_app.bundle.manifest import Recorded, manifest_beside
from tune_app.errors import TuneAppError
from tune_app.experiment.settings import explain
from tune_app.machine import cpu_model, versions
from tune_app.task.declaration import read_task
from tune_app.task.result import Result
from tune_app.task.task import Config, Metric, Task
from tune_app.task.tutorial import tutorial
from tune_app.yaml_file import read_yaml

DECISIVE = ("python", "torch", "numpy")
"""Versions that can change a training's numbers."""
COMPARED = ("seed", "epochs", "results_per_epoch", "threads")


class ExportedConfig(BaseModel):
    """A config.yaml as `tune-app export` writes it; all but `config` may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    task: str | None = None
    config: dict[str, object]
    seed: int = Field(0, ge=0, lt=2**32)
    epochs: float = Field(5, gt=0, le=10_000)
    max_epochs: int | None = Field(None, ge=1, le=10_000)
    results_per_epoch: int = Field(4, ge=1, le=1000)
    threads: int = Field(1, ge=1, le=1024)
    device: Literal["cpu", "cuda"] = "cpu"
    data: str | None = None

    @property
    def whole_epochs(self) -> int:
        """The epochs of a whole training, for schedules."""
        return self.max_epochs or ceil(self.epochs)


@dataclass(frozen=True)
class Exported:
    """A config to train, and the recorded results, if there are any."""

    path: Path
    task: Task
    settings: ExportedConfig
    config: Config
    recorded: Recorded | None

    @property
    def metric(self) -> Metric:
        """The metric by which its training is compared."""
        return self.task.metrics[self.recorded.metric] if self.recorded else self.task.metric


def read_exported(path: Path) -> Exported:
    """Read config.yaml, or one like it; a manifest beside it says what its training must give.

    Raises `TuneAppError` that names the key that is wrong, and the file of the bundle that is not the exported one.
    """
    return exported_from(path, manifest_beside(path))


def exported_from(path: Path, recorded: Recorded | None) -> Exported:
    """The config in the file `path`."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise TuneAppError(f"{path}: is {content!r:.60}, allowed: a mapping with config, seed, epochs")
    try:
        settings = ExportedConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"][:2]))
        raise TuneAppError(f"{path}: {key} {explain(first, ExportedConfig)}") from None
    task = tutorial() if settings.task is None else read_task(path.parent / settings.task)
    try:
        config = task.complete(settings.config)
    except TuneAppError as error:
        raise TuneAppError(f"{path}: config: {error}") from None
    return Exported(path, task, settings, config, recorded)


def from_task(path: Path, words: Sequence[str], epochs: int, seed: int) -> Exported:
    """A config of the task in a file or folder, for a GPU if there is one.

    words: a level, the baseline's if none is named, and NAME=VALUEs.
    Raises `TuneAppError` for a task that cannot be read, and for what it does not have.
    """
    task = read_task(path)
    levels = [word for word in words if "=" not in word] or [task.baseline]
    if len(levels) > 1:
        raise TuneAppError(f"{levels[1]}: is a second level, allowed: one level, then NAME=VALUE")
    values: dict[str, object] = {}
    for name, _, text in (word.partition("=") for word in words if "=" in word):
        known = task.hyperparameters.get(name)
        values[name] = known.typed(text) if known else text
    config = task.complete({"level": levels[0], **values})
    settings = ExportedConfig(
        config=dict(config), epochs=epochs, max_epochs=epochs, seed=seed, results_per_epoch=1, device="cuda"
    )
    return Exported(path, task, settings, config, None)


def train_exported(exported: Exported, data: Any, device: str) -> Iterator[Result]:
    """Train up to the exported epoch, one result after the other."""
    import torch

    from tune_app.task.execution import functions
    from tune_app.task.training import Training

    settings = exported.settings
    if round(exported.settings.epochs * exported.settings.results_per_epoch) < 1:
        raise TuneAppError(f"{exported.path}: epochs is {exported.settings.epochs:g}, less than the first result")
    torch.set_num_threads(exported.settings.threads)
    with functions(exported.task) as its:
        training = Training(
            its,
            exported.config,
            data,
            settings.seed,
            settings.whole_epochs,
            settings.results_per_epoch,
            device,
        )
        for result, _ in training.results(settings.epochs):
            yield result


def differences(exported: Exported, data_digest: str, device: str) -> list[str]:
    """The differences of a training from that of the search, in words; without any, the results must be equal."""
    then = exported.recorded
    if then is None:
        return ["there is no manifest to compare with"]
    settings = exported.settings
    pairs: list[tuple[str, object, object]] = [
        ("config", then.config, exported.config),
        *((name, getattr(then, name), getattr(settings, name)) for name in COMPARED),
        ("CPU model", then.cpu, cpu_model()),
        ("device", then.device, device),
        ("data digest", then.data_digest, data_digest),
        *((name, then.versions.get(name), versions()[name]) for name in DECISIVE),
    ]
    return [f"{name}: {was} in the search, {now} now" for name, was, now in pairs if was != now]


def verdict(exported: Exported, data_digest: str, device: str, values: list[float]) -> dict[str, Any]:
    """The comparison of the metric's values with the search's, as full floats, and the differences."""
    recorded = exported.recorded.values if exported.recorded else []
    return {
        "same": bool(recorded) and values == recorded,
        "recorded": recorded,
        "differences": differences(exported, data_digest, device),
    }
