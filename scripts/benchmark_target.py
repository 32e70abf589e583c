"""How long this app and its peers take to a good config: whole processes on tests/simulations/mlp.py, in turns.

All train the same model by the same loop, one thread a trial, as many trials at once as there are cores, with rungs
after 1, 3 and 9 of 27 epochs. Each ends by its own means at the target or after the time. Only tune_app
keeps states.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

CORES = len(os.sched_getaffinity(0))
TUNE_APP = str(Path(sys.executable).parent / "tune-app")
TASK = Path(__file__).resolve().parent.parent / "tests" / "simulations"
IMAGES = 2000
"""To train on, of 5,000 that the curves in tests/simulations are of: a trial takes a second."""
EPOCHS, GRACE, FACTOR = 27, 1, 3
VALUES = "values.jsonl"

Ends = tuple[int, float, float]
"""A program's seed, the valid accuracy at which it ends, and the seconds after which it ends anyway."""


def train(config: dict[str, Any], data: Any, seed: int) -> Iterator[float]:
    """Train as all peers do: valid accuracies, one an epoch, without a state kept."""
    import torch

    from tune_app.task.loop.build import build
    from tune_app.task.loop.fit import train as trained

    torch.set_num_threads(1)
    mlp = task()
    lesson = build(mlp.mlp, data, config, epochs=EPOCHS, seed=seed)
    for result in trained(lesson, EPOCHS, seed=seed, metrics={"accuracy": mlp.accuracy}):
        yield result.valid["accuracy"]


def task() -> Any:
    """The module of the task."""
    sys.path.insert(0, str(TASK))
    import mlp

    return mlp


def suggested(trial: Any) -> dict[str, Any]:
    """The space of tests/simulations/mlp.yaml, as one writes it for Optuna."""
    opt = trial.suggest_categorical("opt", ["sgd", "adam", "rmsprop"])
    config = {
        "opt": opt,
        "lr": trial.suggest_float("lr", 1e-4, 1, log=True),
        "bs": trial.suggest_categorical("bs", [16, 32, 64, 128, 256]),
        "layers": trial.suggest_categorical("layers", [1, 2, 3]),
        "hidden": trial.suggest_int("hidden", 8, 256, log=True),
        "dropout": trial.suggest_float("dropout", 0, 0.7),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 0.1, log=True),
        "act": trial.suggest_categorical("act", ["relu", "tanh", "sigmoid"]),
    }
    if opt == "sgd":
        config["momentum"] = trial.suggest_float("momentum", 0, 0.99)
    return config


def write(folder: Path, value: float) -> None:
    """Record a value with the time, as a peer's driver does when it knows it."""
    with (folder / VALUES).open("a", encoding="utf-8") as file:
        file.write(json.dumps([time.time(), value]) + "\n")


def ours(ends: Ends, folder: Path) -> None:
    """tune-app search."""
    seed, target, seconds = ends
    space = (TASK / "mlp.yaml").read_text(encoding="utf-8").replace("mlp.py", str(TASK / "mlp.py"))
    own = f"  target: {target}\n  time_budget: {seconds}\n  seed: {seed}\n"
    (folder / "space.yaml").write_text(space.replace("search:\n", f"search:\n{own}"), encoding="utf-8")
    command = [TUNE_APP, "search", "space.yaml", "--name", "x", "--no-dashboard", "--data", str(IMAGES)]
    ended = subprocess.run(command, cwd=folder, check=False).returncode
    if ended not in (0, 3):  # finished, perhaps with failed trials
        raise click.ClickException(f"tune-app ended with {ended}")


def optuna_with(pruner: str) -> Callable[[Ends, Path], None]:
    """Optuna: TPE and one of its pruners, as many processes as cores on one journal file."""

    def searched(ends: Ends, folder: Path) -> None:
        study(folder, pruner, 0)
        command = [sys.executable, __file__, pruner, json.dumps(ends), str(folder)]
        for process in [subprocess.Popen([*command, str(number)]) for number in range(CORES)]:
            if process.wait() != 0:
                raise click.ClickException(f"a process of Optuna ended with {process.returncode}")

    return searched


def study(folder: Path, pruner: str, seed: int) -> Any:
    """The study that all processes of Optuna share."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(folder / "journal.log")
    pruners = {
        HALVING: optuna.pruners.SuccessiveHalvingPruner(
            min_resource=GRACE, reduction_factor=FACTOR, min_early_stopping_rate=0
        ),
        HYPERBAND: optuna.pruners.HyperbandPruner(min_resource=GRACE, max_resource=EPOCHS, reduction_factor=FACTOR),
        MEDIAN: optuna.pruners.MedianPruner(),
    }
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path))),
        study_name="x",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=pruners[pruner],
        load_if_exists=True,
    )


def optuna_worker(pruner: str, ends: Ends, folder: Path, number: int) -> None:
    """One of Optuna's processes: trains until it is told that the target is reached, or the time is up."""
    import optuna

    seed, target, seconds = ends
    data = task().load(str(IMAGES))
    until = time.time() + seconds

    def over() -> bool:
        return time.time() > until or (folder / "reached").exists()

    def objective(trial: optuna.Trial) -> float:
        accuracy = 0.0
        for epoch, accuracy in enumerate(train(suggested(trial), data, trial.number), 1):
            trial.report(accuracy, epoch)
            write(folder, accuracy)
            if accuracy >= target:
                (folder / "reached").touch()
            if over():
                trial.study.stop()
                break
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy

    study(folder, pruner, seed * CORES + number).optimize(objective)


def ray_tune(ends: Ends, folder: Path) -> None:
    """Ray Tune: its ASHA with its OptunaSearch, a class trainable, reused actors."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    seed, target, seconds = ends

    class Trained(tune.Trainable):
        def setup(self, config: dict[str, Any], data: Any = None) -> None:
            self.data = data
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.results = train(new_config, self.data, seed)
            return True

        def step(self) -> dict[str, float]:
            return {"accuracy": next(self.results)}

    class Ended(tune.Stopper):
        until, reached = time.time() + seconds, False

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
            write(folder, result["accuracy"])
            self.reached = self.reached or result["accuracy"] >= target
            return result["training_iteration"] >= EPOCHS

        def stop_all(self) -> bool:
            return self.reached or time.time() > self.until

    ray.init(num_cpus=CORES, include_dashboard=False, logging_level="ERROR")
    tuner = tune.Tuner(
        tune.with_parameters(Trained, data=task().load(str(IMAGES))),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space=suggested, metric="accuracy", mode="max", seed=seed),
            scheduler=ASHAScheduler(
                metric="accuracy", mode="max", max_t=EPOCHS, grace_period=GRACE, reduction_factor=FACTOR
            ),
            num_samples=-1,
            max_concurrent_trials=CORES + 1,  # an actor is reused only where a trial waits for it
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            stop=Ended(),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    tuner.fit()


OURS, RAY = "tune_app", "Ray Tune: ASHA, OptunaSearch, reused actors"
HALVING, HYPERBAND, MEDIAN = "Optuna: TPE, successive halving", "Optuna: TPE, Hyperband", "Optuna: TPE, its default"
PROGRAMS: dict[str, Callable[[Ends, Path], None]] = {
    OURS: ours,
    **{pruner: optuna_with(pruner) for pruner in (HALVING, HYPERBAND, MEDIAN)},
    RAY: ray_tune,
}


def values(folder: Path) -> list[tuple[float, float]]:
    """What a program recorded: times and valid accuracies."""
    record = folder / "experiments" / "x" / "record.jsonl"
    if not record.exists():
        lines = (folder / VALUES).read_text().splitlines() if (folder / VALUES).exists() else []
        return [tuple(json.loads(line)) for line in lines]
    entries = map(json.loads, record.read_text().splitlines())
    return [(e["time"], e["valid"]["valid_accuracy"]) for e in entries if e["kind"] == "result"]


def measure(program: str, ends: Ends) -> dict[str, float | None]:
    """Run a program once in a fresh process and an empty folder: seconds to the target, if reached, and results."""
    with tempfile.TemporaryDirectory(prefix="target-") as name:
        env = {**os.environ, "HOME": name, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        command = [sys.executable, __file__, program, json.dumps(ends), name]
        start = time.time()
        done = subprocess.run(command, cwd=name, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise click.ClickException(f"{program}: {done.stderr[-2000:]}")
        found = values(Path(name))
        reached = [at - start for at, value in found if value >= ends[1]]
        return {
            "seconds": min(reached, default=None),
            "best": max((v for _, v in found), default=0),
            "results": len(found),
        }


@click.command()
@click.option("--seeds", type=int, default=10, show_default=True)
@click.option("--best-known", type=float, default=0.927, show_default=True, help="By long searches of this space.")
@click.option("--within", type=float, default=0.005, show_default=True, help="Of the best known, as a share.")
@click.option("--seconds", type=float, default=60, show_default=True, help="After which a program ends anyway.")
def target(seeds: int, best_known: float, within: float, seconds: float) -> None:
    """Seconds until a config within 0.5 % of the best known is recorded, by this app and its peers."""
    goal = best_known * (1 - within)
    click.echo(f"{CORES} cores, load {os.getloadavg()[0]:.2f}, {seeds} seeds in turns, target {goal:.4f}\n")
    runs: dict[str, list[dict[str, float | None]]] = {program: [] for program in PROGRAMS}
    for seed in range(seeds):
        for program, measured in runs.items():
            measured.append(measure(program, (seed, goal, seconds)))
            click.echo(f"seed {seed}, {program}: {measured[-1]}", err=True)
    click.echo("| | reached | seconds: median (range) | best: median | results |\n|--|--|--|--|--|")
    for program, measured in runs.items():
        after = sorted(float("inf") if run["seconds"] is None else run["seconds"] for run in measured)
        shown = [f"{t:.1f}" if t < float("inf") else f"over {seconds:.0f}" for t in after]
        middle = statistics.median(after)
        median = f"{middle:.1f}" if middle < float("inf") else f"over {seconds:.0f}"
        best = statistics.median(run["best"] or 0 for run in measured)
        results = statistics.median(run["results"] or 0 for run in measured)
        reached = sum(run["seconds"] is not None for run in measured)
        times = f"{median} ({shown[0]} to {shown[-1]})"
        click.echo(f"| {program} | {reached} of {seeds} | {times} | {best:.4f} | {results:.0f} |")


if __name__ == "__main__":
    program, ends, folder = sys.argv[1], tuple(json.loads(sys.argv[2])), Path(sys.argv[3])
    with contextlib.chdir(folder):
        if len(sys.argv) == 5:
            optuna_worker(program, ends, folder, int(sys.argv[4]))
        else:
            PROGRAMS[program](ends, folder)
