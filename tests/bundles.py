"""Bundles of real trainings: searched without Ray, exported as the command does it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner, Result

from tests.made_up import spec_of
from tune_app.bundle.export import export_best
from tune_app.bundle.manifest import FILES, MANIFEST, digest, sealed
from tune_app.cli import main
from tune_app.engine.in_process import Train, run_in_process
from tune_app.engine.search import Attempt, Search
from tune_app.experiment.spec import DataSource
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task import training
from tune_app.task.levels import LEVELS, Config, complete
from tune_app.task.tutorial import sources
from tune_app.task.tutorial.mnist import Mnist


def config_of(level: str) -> Config:
    """Values other than the tutorial's: batches that do not divide the images, momentum, weight decay, a width."""
    found: Config = {"lr": 0.07, "bs": 48, "momentum": 0.8, "weight_decay": 1e-4, "width": 2}
    return complete({"level": level} | {name: found[name] for name in LEVELS[level].defaults})


def really(images: Mnist, results_per_epoch: int) -> Train:
    """Train as a worker does, from the start."""

    def train(attempt: Attempt) -> Iterator[Mapping[str, Any]]:
        lesson = training.prepare(attempt.trial.config, images, attempt.trial.seed, torch.device("cpu"))
        for result in training.fit(lesson, attempt.epochs, results_per_epoch):
            more = {"parameters": training.count_parameters(lesson), "state": training.state(lesson)}
            yield {**asdict(result), "diverged": False, "start_seconds": 0.0, "wait_seconds": 0.0, **more}

    return train


def make_bundle(
    folder: Path,
    config: Config,
    data: Path | None,
    epochs: int,
    results_per_epoch: int,
    metric: str = "valid_accuracy",
) -> Path:
    """Search one config on the images of `data` (None: MNIST) and export it; the bundle's folder."""
    images = sources.load(str(data) if data else None)
    settings = {"max_epochs": epochs, "results_per_epoch": results_per_epoch, "num_samples": 1, "metric": metric}
    spec = spec_of("made", dict(config), **settings)
    source = DataSource(
        source=str(data) if data else None,
        digest=images.digest(),
        train=len(images.train.y),
        valid=len(images.valid.y),
    )
    search = Search.create(spec.model_copy(update={"data": source}), paths(folder / "experiments", "made"))
    search.begin()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_in_process(search, really(images, results_per_epoch))
    torch.set_num_threads(threads)
    search.end("completed")
    search.close()
    export_best(load_experiment("made", folder / "experiments"), folder / "best")
    return folder / "best"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def reseal(folder: Path, **changes: object) -> None:
    """What a stranger can do: change files, and write a manifest that fits them."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = {name: digest((folder / name).read_bytes()) for name in FILES}
    (folder / MANIFEST).write_text(sealed({**manifest, "files": files, **changes}))
