"""Export the best config of an experiment for reuse: settings, weights, and what they were made with."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tune_app.errors import TuneAppError
from tune_app.experiment.history import FAILED, Experiment, Trial
from tune_app.experiment.mirror import kept_state
from tune_app.machine import umask

CONFIG, WEIGHTS, MANIFEST = "config.yaml", "weights.safetensors", "manifest.json"


def export_best(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """Make `folder` with config.yaml, weights.safetensors and manifest.json; return the manifest.

    The folder appears as a whole or not at all. Raises `TuneAppError` where there is no result yet, the
    folder exists, or the weights are damaged.
    """
    best = experiment.history.best
    if best is None:
        raise TuneAppError(f"experiment {experiment.name} has no result yet")
    if folder.exists():
        raise TuneAppError(f"{folder}: exists already, allowed: another folder with -o")
    try:
        state = load(kept_state(experiment.paths, best))
    except SafetensorError as error:
        raise TuneAppError(
            f"experiment {experiment.name}: the kept state is no safetensors file: {error}"
        ) from None
    weights = save({name.removeprefix("model."): w for name, w in state.items() if name.startswith("model.")})
    trial = experiment.trial(best["trial"])
    config = config_of(experiment, trial, best["epoch"])
    manifest = {
        "experiment": experiment.name,
        "trial": trial.number,
        **config,
        "metrics": {name: best[name] for name in ("valid_accuracy", "valid_loss", "train_loss")},
        **conditions(experiment, trial, best["epoch"]),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    comment = (
        f"# The best config of {experiment.name}: valid accuracy {best['valid_accuracy']:.4f}"
        f" at epoch {best['epoch']:g} (trial {trial.number}).\n# Train it again: tune-app train {CONFIG}\n"
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            (part / CONFIG).write_text(comment + yaml.safe_dump(config, sort_keys=False))
            (part / WEIGHTS).write_bytes(weights)
            (part / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
            part.chmod(0o777 & ~umask())  # mkdtemp made it for the owner alone
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise TuneAppError(f"{folder}: cannot be written: {error.strerror}") from None
    return manifest


def config_of(experiment: Experiment, trial: Trial, epochs: float) -> dict[str, Any]:
    """What `tune-app train` needs to train a trial again, up to `epochs`."""
    spec = experiment.history.spec
    return {
        "config": trial.config,
        "seed": trial.seed,
        "epochs": epochs,
        "results_per_epoch": spec.settings.results_per_epoch,
        "threads": max(1, int(spec.settings.cpus_per_trial)),
        "data": spec.data.source,
    }


def conditions(experiment: Experiment, trial: Trial, epochs: float) -> dict[str, Any]:
    """What came out of a trial up to `epochs`, and where: by it another training is compared."""
    spec = experiment.history.spec
    results = [r for r in trial.results if r["epoch"] <= epochs]
    worker = trial.attempts[results[-1]["attempt"] if results else -1]
    return {
        "valid_accuracies": [r["valid_accuracy"] for r in results],
        "data_digest": spec.data.digest,
        "cpu": worker["cpu"],
        "device": worker["device"],
        "versions": spec.versions,
    }


def trial_again(experiment: Experiment, number: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The config of a trial and, if a worker began with it, its manifest, to train it in the foreground."""
    trial = experiment.trial(number)
    failed = trial.state == FAILED or not trial.results
    epochs = float(experiment.history.spec.settings.max_epochs) if failed else trial.epoch
    config = config_of(experiment, trial, epochs)
    return config, {**config, **conditions(experiment, trial, epochs)} if trial.attempts else None
