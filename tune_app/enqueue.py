"""Configs to try first: exported ones, or the best of an earlier search."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tune_app.bundle.manifest import manifest_beside
from tune_app.errors import TuneAppError
from tune_app.experiment.space import SearchSpace
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import load_experiment
from tune_app.task.task import Config, Task
from tune_app.typed_path import typed_path
from tune_app.yaml_file import read_yaml

BEST_OF = re.compile(r"(?P<name>[A-Za-z0-9._-]+):(?P<number>[1-9]\d{0,3})")


def enqueued_configs(
    sources: Sequence[str | Path], space: SearchSpace, experiments_dir: Path | Bucket
) -> list[Config]:
    """The configs that `sources` name, each once: NAME:5 (an experiment's five best) or an exported config.yaml.

    Raises `TuneAppError` for what is neither, and for a config that the space does not contain.
    """
    if sources and space.is_grid:
        raise TuneAppError("--enqueue does not go with a grid, which tries each of its points once")
    configs: list[Config] = []
    for source in sources:
        best_of = BEST_OF.fullmatch(str(source))
        if best_of:
            trials = load_experiment(best_of["name"], experiments_dir).history.ranked()
            if not trials:
                raise TuneAppError(f"--enqueue {source}: the experiment has no result yet")
            found = distinct(trial.config for trial in trials)[: int(best_of["number"])]
        else:
            found = [read_config(typed_path(source, "a config.yaml, or NAME:5"), space.task)]
        for config in found:
            outside = space.outside(config)
            if outside:
                raise TuneAppError(f"--enqueue {source}: {outside}, which the space does not contain")
            configs.append(config)
    return distinct(configs)


def distinct(configs: Iterable[Config]) -> list[Config]:
    """Each config once, in their order."""
    found: list[Config] = []
    for config in configs:
        if config not in found:
            found.append(config)
    return found


def read_config(path: Path, task: Task) -> Config:
    """The config in a config.yaml as `tune-app export` writes it; in a bundle, one that is still as it was."""
    manifest_beside(path)
    content = read_yaml(path)
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise TuneAppError(f"{path}: has no config, allowed: a config.yaml of tune-app export, or NAME:5")
    try:
        return task.complete(config)
    except TuneAppError as error:
        raise TuneAppError(f"{path}: config: {error}") from None
