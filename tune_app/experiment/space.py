"""A search space: dimensions and settings, read from a YAML file and checked to the last value."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tune_app.errors import TuneAppError, choices
from tune_app.experiment.dimension import RANGES, Dimension, Domain, YamlValue, check_dimension, check_value
from tune_app.experiment.settings import Settings, check_settings, plain
from tune_app.task.declaration import read_task
from tune_app.task.task import Config, Task
from tune_app.task.tutorial import tutorial
from tune_app.typed_path import current_directory, typed_path
from tune_app.yaml_file import read_yaml

MOST_POINTS = 100_000


class SpaceFile(BaseModel):
    """A search space file. The source of its JSON Schema, which editors complete and check by."""

    model_config = ConfigDict(extra="forbid", title="tune_app search space")

    task: str | None = Field(
        None, description="a Python file or a folder, seen from the space file; without it: the tutorial"
    )
    space: dict[str, YamlValue | Domain] = Field(
        description="dimensions: level and its hyperparameters; what is left out has the level's own value"
    )
    search: Settings = Field(description="budget, early stopping, seed")


def space_schema(task: Task) -> dict[str, Any]:
    """The JSON Schema of the space files of a task."""
    schema = SpaceFile.model_json_schema()
    schema["properties"]["space"]["propertyNames"] = {"enum": ["level", *task.hyperparameters]}
    schema["$defs"]["Settings"]["properties"]["metric"]["enum"] = [None, *task.metrics]
    return schema


@dataclass(frozen=True)
class SearchSpace:
    """Dimensions in the order in which they are proposed: each comes after those it depends on."""

    task: Task
    dimensions: tuple[Dimension, ...]

    @property
    def is_grid(self) -> bool:
        """Whether every point is enumerated instead of proposed."""
        return any(d.domain == "grid" for d in self.dimensions)

    @property
    def levels(self) -> list[str]:
        """The levels that are searched."""
        return [str(value) for d in self.dimensions if d.name == "level" for value in d.values]

    def dimensions_of(self, level: str) -> list[Dimension]:
        """The dimensions that can exist for a level."""
        by_name = {d.name: d for d in self.dimensions}
        return [d for d in self.dimensions if level in levels_of(d, by_name)]

    def grid(self) -> Iterator[Config]:
        """Every config of a grid, in file order: the first dimension varies slowest."""

        def extend(config: Config, rest: tuple[Dimension, ...]) -> Iterator[Config]:
            if not rest:
                yield self.task.complete(config)
            elif not rest[0].exists(config):
                yield from extend(config, rest[1:])
            else:
                for value in rest[0].values:
                    yield from extend({**config, rest[0].name: value}, rest[1:])

        return extend({}, self.dimensions)

    def existing(self, config: Config) -> list[Dimension]:
        """The dimensions that exist in a complete config; others of its values are the level's own."""
        chosen: Config = {}
        for d in self.dimensions:
            if d.exists(chosen):
                chosen[d.name] = config[d.name]
        return [d for d in self.dimensions if d.name in chosen]

    def outside(self, config: Config) -> str | None:
        """The value by which this complete config is no point of the space, such as "lr 3"; None: it is one."""
        chosen: Config = {}
        for d in self.dimensions:
            if d.exists(chosen):
                if d.name not in config:
                    return f"{config['level']} without {d.name}"
                if not d.contains(config[d.name]):
                    return f"{d.name} {config[d.name]}"
                chosen[d.name] = config[d.name]
        points = self.task.complete(chosen)
        return next((f"{name} {value}" for name, value in config.items() if points.get(name) != value), None)


@dataclass(frozen=True)
class SpaceSource:
    """A checked space: `content`, as it was written, what that means, and the settings."""

    name: str
    home: Path | None
    """Where a task of one's own lies."""
    content: dict[str, Any]
    space: SearchSpace
    settings: Settings

    @property
    def task(self) -> Task:
        """What is trained."""
        return self.space.task

    @property
    def num_trials(self) -> int:
        """How many trials a search has."""
        return sum(1 for _ in self.space.grid()) if self.space.is_grid else self.settings.num_samples


def load_space(
    space: str | Path | Mapping[str, object] = "tutorial", options: Mapping[str, object] | None = None
) -> SpaceSource:
    """Read a space: a file, the name of a shipped one, or a dict like a file. `options` override its `search`.

    Raises `TuneAppError` that names file, key, value and what is allowed; of a dict it says "dict".
    """
    if isinstance(space, Mapping):
        try:
            name, file, content = "space", "dict", plain(space)
        except RecursionError:
            raise TuneAppError("dict: nested too deeply") from None
    else:
        path = space_file(str(space))
        if path.is_dir() or path.suffix == ".py":
            raise TuneAppError(f"{space}: is a task, allowed: a space file that says task: {path.name}")
        name, file, content = path.stem, str(path), read_yaml(path)
    options = options or {}
    if not isinstance(content, dict):
        raise TuneAppError(f"{file}: is {content!r:.60}, allowed: a mapping with space and search")
    unknown = [key for key in content if key not in SpaceFile.model_fields]
    if unknown:
        raise TuneAppError(f"{file}: {unknown[0]} is unknown, {choices(unknown[0], SpaceFile.model_fields)}")
    home = path_of_task(content.get("task"), file)
    task = tutorial() if home is None else read_task(home, f"{file}: task {content['task']}")
    checked = check_space(content.get("space"), task, file)
    settings = check_settings(content.get("search"), options, task, file)
    if checked.is_grid and ("num_samples" in options or "num_samples" in (content.get("search") or {})):
        where = "--num-samples" if "num_samples" in options else f"{file}: search.num_samples"
        raise TuneAppError(f"{where} does not go with a grid, which tries each of its points once")
    return SpaceSource(name, home, content["space"], checked, settings)


def load_space_or_task(path_or_name: str) -> SpaceSource:
    """Read a space, see `load_space`; of a task's own file or folder: all its levels with their defaults."""
    is_folder = path_or_name not in shipped() and os.path.isdir(path_or_name)  # noqa: PTH112 (as in space_file)
    if not is_folder and not path_or_name.endswith(".py"):
        return load_space(path_or_name)
    path = whole(typed_path(path_or_name))
    task = read_task(path, path_or_name)
    space = SearchSpace(task, (Dimension("level", "choice", tuple(task.levels)),))
    return SpaceSource(task.name, path, {}, space, Settings.model_validate({}))


def path_of_task(given: object, file: str) -> Path | None:
    """The file or folder that a space names as its task, seen from its own folder; None for the tutorial."""
    if given is None:
        return None
    if not isinstance(given, str) or not given:
        raise TuneAppError(f"{file}: task is {given!r:.60}, allowed: the path of a Python file or a folder")
    beside = Path() if file == "dict" else Path(file).parent
    return whole(beside / typed_path(given, "the path of a Python file or a folder"))


def whole(path: Path) -> Path:
    """A path from the root, without `..`, since the folder before it may go."""
    return Path(os.path.normpath(current_directory() / path))


def shipped() -> dict[str, Path]:
    """The shipped space files by name."""
    folder = Path(__file__).parent.parent / "search_spaces"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def space_file(path_or_name: str) -> Path:
    """The file of that path, or the shipped one of that name."""
    if path_or_name in shipped():
        return shipped()[path_or_name]
    try:
        path = typed_path(path_or_name)
    except TuneAppError:
        path = None
    if path is None or not os.path.exists(path):  # noqa: PTH110 (Path.exists raises for a name that is too long)
        raise TuneAppError(f"{path_or_name}: no such file or shipped space, {choices(path_or_name, shipped())}")
    return path


def check_space(content: Any, task: Task, file: str) -> SearchSpace:
    """The `space` part of a file; `TuneAppError` names file, key, value and what is allowed."""
    if not isinstance(content, dict) or not content:
        raise TuneAppError(f"{file}: space is {content!r:.60}, allowed: a mapping of dimensions to domains")
    dimensions = [check_dimension(name, value, task, f"{file}: space.{name}") for name, value in content.items()]
    if "level" not in content:
        dimensions.insert(0, Dimension("level", "constant", (task.baseline,)))
    by_name = {d.name: d for d in dimensions}
    for dimension in dimensions:
        check_when(dimension, by_name, task, f"{file}: space.{dimension.name}.when")
    space = SearchSpace(task, in_order(dimensions, file))
    for dimension in space.dimensions:
        check_levels(dimension, by_name, task, f"{file}: space.{dimension.name}")
        if space.is_grid and dimension.domain != "grid" and len(dimension.values) != 1:
            raise TuneAppError(
                f"{file}: space.{dimension.name} is a {dimension.domain} beside a grid,"
                " allowed: grids and constants only"
            )
    if sum(1 for _ in islice(space.grid() if space.is_grid else (), MOST_POINTS + 1)) > MOST_POINTS:
        raise TuneAppError(f"{file}: space has more than {MOST_POINTS} points in its grid")
    return space


def check_when(dimension: Dimension, by_name: Mapping[str, Dimension], task: Task, where: str) -> None:
    """A `when` names other dimensions of the file and values that they can have."""
    for other, values in dimension.when:
        if other not in by_name or other == dimension.name:
            others = [name for name in by_name if name != dimension.name]
            raise TuneAppError(f"{where}.{other} is not another dimension of the file, {choices(other, others)}")
        if by_name[other].domain in RANGES:
            raise TuneAppError(
                f"{where}.{other} is a {by_name[other].domain}, allowed: a choice, a grid or a constant"
            )
        for value in values:
            if check_value(other, value, task, f"{where}.{other}") not in by_name[other].values:
                allowed = ", ".join(map(str, by_name[other].values))
                raise TuneAppError(
                    f"{where}.{other} is {value!r}, which space.{other} never is, allowed: {allowed}"
                )


def in_order(dimensions: list[Dimension], file: str) -> tuple[Dimension, ...]:
    """The file's order, but each dimension after those that its `when` names."""
    ordered: list[Dimension] = []
    waiting = list(dimensions)
    while waiting:
        known = {d.name for d in ordered}
        ready = next((d for d in waiting if all(other in known for other, _ in d.when)), None)
        if ready is None:
            circle = ", ".join(f"space.{d.name}" for d in waiting)
            raise TuneAppError(f"{file}: when goes round in a circle between {circle}")
        ordered.append(ready)
        waiting.remove(ready)
    return tuple(ordered)


def check_levels(dimension: Dimension, by_name: Mapping[str, Dimension], task: Task, where: str) -> None:
    """Every level for which a dimension can exist must have that hyperparameter."""
    if dimension.name == "level":
        return
    levels = levels_of(dimension, by_name)
    if not levels:
        raise TuneAppError(f"{where} never exists: no level fits its when")
    without = [level for level in levels if dimension.name not in task.levels[level].defaults]
    if without:
        having = [level for level in levels if level not in without]
        remedy = f"when: {{level: [{', '.join(having)}]}}" if having else "leave it out"
        raise TuneAppError(f"{where}: level '{without[0]}' has no {dimension.name}, allowed: {remedy}")


def levels_of(dimension: Dimension, by_name: Mapping[str, Dimension]) -> list[str]:
    """The levels for which a dimension can exist, by its own `when` and those that it depends on."""
    levels = [str(level) for level in by_name["level"].values]
    for other, values in dimension.when:
        allowed = values if other == "level" else levels_of(by_name[other], by_name)
        levels = [level for level in levels if level in allowed]
    return levels
