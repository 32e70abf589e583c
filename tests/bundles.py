"""Bundles of real trainings: searched without Ray, exported as the command does it."""

import json
from pathlib import Path

import torch
from click.testing import CliRunner, Result

from tests.made_up import WORKER, ask_and_start, spec_of
from tune_app.bundle.export import export_best
from tune_app.bundle.manifest import FILES, MANIFEST, digest, sealed
from tune_app.cli import main
from tune_app.engine.search import Search
from tune_app.experiment.spec import DataSource
from tune_app.machine import cpu_model
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task import training
from tune_app.task.levels import LEVELS, Config, complete
from tune_app.task.tutorial import sources

WORKER_HERE = {**WORKER, "cpu": cpu_model()}


def config_of(level: str) -> Config:
    """Values other than the tutorial's: batches that do not divide the images, momentum, weight decay, a width."""
    found: Config = {"lr": 0.07, "bs": 48, "momentum": 0.8, "weight_decay": 1e-4, "width": 2}
    return complete({"level": level} | {name: found[name] for name in LEVELS[level].defaults})


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
    number = ask_and_start(search, WORKER_HERE)
    trial = search.history.trials[number]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lesson = training.prepare(trial.config, images, trial.seed, torch.device("cpu"))
    for result in training.fit(lesson, epochs, results_per_epoch):
        search.add_result(number, result, training.state(lesson), search.judge(number, result))
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
