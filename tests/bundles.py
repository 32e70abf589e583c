"""Bundles of real trainings: searched without Ray, exported as the command does it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.made_up import spec_of
from tune_app.bundle.export import export_best
from tune_app.bundle.manifest import MANIFEST, sealed
from tune_app.cli import main
from tune_app.engine.in_process import train_here
from tune_app.engine.search import Search
from tune_app.experiment.spec import DataSource
from tune_app.experiment.states import sha256
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task.loading import load
from tune_app.task.task import Config
from tune_app.task.tutorial import tutorial


def config_of(level: str) -> Config:
    """Values other than the tutorial's: batches that do not divide the images, momentum, weight decay, a width."""
    found: Config = {"lr": 0.07, "bs": 48, "momentum": 0.8, "weight_decay": 1e-4, "width": 2}
    return tutorial().complete({"level": level} | {name: found[name] for name in tutorial().levels[level].defaults})


def search_really(
    folder: Path,
    name: str,
    space: dict[str, Any],
    data: Path | str | None,
    enough: Callable[[Search], bool] = lambda search: False,
    **settings: Any,
) -> None:
    """A search in this process of the images that `data` names (None: MNIST), below `folder`, until `enough`."""
    loaded = load(tutorial(), str(folder / data) if data else None)
    assert loaded.sizes
    train, valid = loaded.sizes
    source = DataSource(source=str(data) if data else None, digest=loaded.digest, train=train, valid=valid)
    spec = spec_of(name, space, **settings).model_copy(update={"data": source})
    search = Search.create(spec, paths(folder / "experiments", name))
    search.begin()
    ended = train_here(
        "cpu", search, loaded.content, lambda: "interrupted" if enough(search) else None, lambda: None
    )
    search.end(ended or "completed")
    search.close()


def make_bundle(
    folder: Path,
    config: Config,
    data: Path | None,
    epochs: int,
    results_per_epoch: int,
    metric: str = "valid_accuracy",
) -> Path:
    """Search one config on the images of `data` (None: MNIST) and export it; the bundle's folder."""
    how: dict[str, Any] = {"max_epochs": epochs, "results_per_epoch": results_per_epoch, "metric": metric}
    search_really(folder, "made", dict(config), data, num_samples=1, **how)
    export_best(load_experiment("made", folder / "experiments"), folder / "best")
    return folder / "best"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def files_of(folder: Path) -> list[str]:
    """All files of a bundle but its manifest."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    )


def reseal(folder: Path, **changes: object) -> None:
    """What a stranger can do: change files, and write a manifest that fits them."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = {name: sha256((folder / name).read_bytes()) for name in files_of(folder)}
    (folder / MANIFEST).write_text(sealed({**manifest, "files": files, **changes}))
