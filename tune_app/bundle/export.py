"""Export the winner of a search for reuse: settings, weights, a script that trains them, and their origin."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tune_app.bundle.card import model_card
from tune_app.bundle.code import TASK, code_files
from tune_app.bundle.manifest import CARD, CONFIG, CONFIG_JSON, MANIFEST, WEIGHTS, Recorded, sealed
from tune_app.bundle.retrain import Exported, ExportedConfig
from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.findings import Confirmation
from tune_app.experiment.states import sha256
from tune_app.experiment.trial import FAILED, Trial
from tune_app.machine import versions
from tune_app.storage.load import load_confirmation
from tune_app.storage.mirror import kept_state
from tune_app.task.result import Result
from tune_app.task.task import Task
from tune_app.whole import whole
from tune_app.yaml_file import as_yaml

UNREADABLE = (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)
"""What a state that no training kept, but somebody made up, can raise."""


def winner(experiment: Experiment) -> tuple[int, Experiment, Result, dict[str, Any]]:
    """The search's best trial, the experiment with the result to export, that result, and metrics besides its own.

    Where the winner was confirmed, it is the trial that won, and the result of its seed with the median value.
    Raises `TuneAppError` where there is no result yet.
    """
    confirmation, best = load_confirmation(experiment), experiment.history.best
    run = confirmation.exported if confirmation and confirmation.finished else None
    if confirmation and confirmation.winner and run:
        kept, found = confirmation.experiment, confirmed_metrics(confirmation)
        return confirmation.winner.trial, kept, run.results[-1], found
    if best is None:
        raise TuneAppError(f"experiment {experiment.name} has no result yet")
    return best.trial, experiment, best, {}


def weights_in(state: bytes, experiment: str) -> bytes:
    """The weights of a kept state as a safetensors file."""
    from safetensors.torch import save

    from tune_app.task.loop.state import exported

    try:
        return save(exported(state))
    except UNREADABLE as error:
        raise TuneAppError(f"experiment {experiment}: the kept state is none of a training: {error}") from None


def confirmed_metrics(confirmation: Confirmation) -> dict[str, Any]:
    """The metrics that a confirmation adds to those of its winner's weights; see `Manifest.metrics`."""
    measured, name = confirmation.findings.measured, confirmation.of.history.metric.name
    found: dict[str, float | tuple[float, float] | None] = {
        f"{name}_interval": measured.next_interval,
        f"mean_{name}": measured.mean,
        f"mean_{name}_interval": measured.interval,
    }
    for metric, (value, interval) in confirmation.test_values.items():
        found |= {metric.on_test: value, f"{metric.on_test}_interval": interval}
    return {name: value for name, value in found.items() if value is not None}


def export_best(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """Make `folder`, the bundle of the experiment's winner; return its manifest.

    The folder appears as a whole or not at all. Raises `TuneAppError` where there is no result yet, the
    folder exists, or the weights are damaged.
    """
    number, kept, result, confirmed = winner(experiment)
    trial, metric = kept.trial(result.trial), experiment.history.metric
    settings = config_of(kept, trial, result.epoch)
    about = {
        "experiment": experiment.name,
        "trial": number,
        **settings,
        "metrics": {**result.valid, "train_loss": result.train_loss, **confirmed},
        **conditions(kept, trial, result.epoch),
        "space": experiment.history.spec.space,
        "settings": experiment.history.spec.settings.model_dump(),
        "written_by": f"tune_app {versions()['tune_app']}",
    }
    comment = (
        f"# The best config of {experiment.name}: {metric.words} {metric.value(result):.4f}"
        f" at epoch {result.epoch:g} (trial {number}).\n# Train it again: tune-app train {CONFIG}\n"
    )
    code = code_files(experiment.history.spec.task, settings["config"], settings)
    files = {
        CONFIG: (comment + as_yaml(settings)).encode(),
        CONFIG_JSON: (json.dumps(settings, indent=2) + "\n").encode(),
        WEIGHTS: weights_in(kept_state(kept.paths, result), experiment.name),
        CARD: model_card(experiment, about).encode(),
        **{name: text.encode() for name, text in code.items()},
    }
    manifest = {**about, "files": {name: sha256(content) for name, content in files.items()}}
    with whole(folder, folder=True) as part:
        for name, content in {**files, MANIFEST: sealed(manifest).encode()}.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(content)
    return manifest


def config_of(experiment: Experiment, trial: Trial, epochs: float) -> dict[str, Any]:
    """The settings with which `tune-app train` trains a trial again, up to `epochs`."""
    spec = experiment.history.spec
    return {
        "config": trial.config,
        "seed": trial.seed,
        "epochs": epochs,
        "max_epochs": spec.whole_epochs,
        "results_per_epoch": spec.settings.results_per_epoch,
        "threads": spec.settings.threads,
        "device": worker_of(trial, epochs).get("device") or "cpu",
        "data": spec.data.source,
        **({"task": path_in_bundle(spec.task)} if spec.task.files else {}),
    }


def path_in_bundle(task: Task) -> str:
    """The path of a task of one's own in a bundle: its file, or the folder with several."""
    alone = set(task.modules.values()) == {task.name}
    return f"{TASK}/{task.name}.py" if alone else TASK


def conditions(experiment: Experiment, trial: Trial, epochs: float) -> dict[str, Any]:
    """The results of a trial up to `epochs`, the data and the machine: another training is compared with them."""
    spec = experiment.history.spec
    results = [r for r in trial.results if r.epoch <= epochs]
    return {
        "metric": experiment.history.metric.name,
        "results": {name: [r.valid[name] for r in results if name in r.valid] for name in spec.task.metrics},
        "data_digest": spec.data.digest,
        "cpu": worker_of(trial, epochs)["cpu"],
        "versions": spec.versions,
    }


def worker_of(trial: Trial, epochs: float) -> dict[str, Any]:
    """What is recorded of the worker that trained a trial up to `epochs`; nothing where none began with it."""
    until = [r.attempt for r in trial.results if r.epoch <= epochs]
    return trial.attempts[until[-1] if until else -1] if trial.attempts else {}


def trial_again(experiment: Experiment, number: int) -> Exported:
    """The config of a trial to train it again and, if a worker began with it, what came out."""
    trial, spec = experiment.trial(number), experiment.history.spec
    failed = trial.state == FAILED or not trial.results
    epochs = float(spec.settings.max_epochs) if failed else trial.epoch
    config, recorded = config_of(experiment, trial, epochs), None
    if trial.attempts:
        recorded = Recorded.model_validate({**config, **conditions(experiment, trial, epochs)})
    settings = ExportedConfig.model_validate(config)
    return Exported(Path(experiment.name), spec.task, settings, trial.config, recorded)
