#!/usr/bin/env python3
"""Measure this app against its peers: whole processes, in turns, medians.

    .venv/bin/python scripts/benchmark.py search [--trials 24] [--trials 100] [--rounds 5] [--no-ray-tune]
    .venv/bin/python scripts/benchmark.py target [--seeds 10] [--seconds 60]
    .venv/bin/python scripts/benchmark.py cluster [--trials 100] [--rounds 3]
    .venv/bin/python scripts/benchmark.py scale [--trials 10000]

In search, all programs train the same configs with the same code (level linear, bs 64, the same learning rates
in the same order, 5 epochs, ASHA or successive halving with grace 1 and reduction factor 3), one thread a
trial, as many trials at once as there are cores. They stop different trials, so epochs are counted beside the
time.
"""

import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from benchmark_target import target

if TYPE_CHECKING:
    from tune_app.trials.worker import Started, Trained, Work

CORES = len(os.sched_getaffinity(0))
TUNE_APP = str(Path(sys.executable).parent / "tune-app")
EPOCHS, GRACE, FACTOR, BS = 5, 1, 3, 64


def learning_rates(n: int) -> list[float]:
    """Log-uniform from 1e-3 to 1, the same for every program and round."""
    rng = random.Random(0)
    return [10 ** rng.uniform(-3, 0) for _ in range(n)]


def train(lr: float, mnist: Any) -> Any:
    """The training that all programs share: valid accuracies, one an epoch."""
    import torch

    from tune_app.task.execution import functions
    from tune_app.task.training import Training
    from tune_app.task.tutorial import tutorial

    torch.set_num_threads(1)
    with functions(tutorial()) as its:
        training = Training(its, {"level": "linear", "lr": lr, "bs": BS}, mnist, 0, EPOCHS, 1)
    return (result.valid["valid_accuracy"] for result, _ in training.results(EPOCHS))


# ---- the programs: a person starts each as one process, which leaves or prints how many epochs it trained -----


def our_command(n: int, folder: Path) -> list[str]:
    """tune-app search."""
    (folder / "space.yaml").write_text(
        f"space: {{level: linear, bs: {BS}, lr: {{grid: {learning_rates(n)}}}}}\n"
        f"search: {{max_epochs: {EPOCHS}, results_per_epoch: 1, grace_period: {GRACE}, reduction_factor: {FACTOR}}}"
    )
    return [TUNE_APP, "search", "space.yaml", "--name", "x", "--no-dashboard"]


def our_epochs(folder: Path) -> dict[str, float]:
    """Epochs that our search trained, and the seconds that its workers spent on them."""
    from tune_app.storage.load import load_experiment

    trials = load_experiment("x", folder / "experiments").history.trials
    seconds = sum(r.train_seconds + r.valid_seconds for trial in trials for r in trial.results)
    return {"epochs": sum(trial.epoch for trial in trials), "training": seconds / CORES}


def ray_as_documented(n: int, folder: Path) -> dict[str, float]:
    """Ray Tune as its documentation shows it: a function trainable, fresh actors, the default loggers."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from tune_app.task.images import sources

    def trainable(config: dict[str, float], data: Any) -> None:
        for accuracy in train(config["lr"], data):
            tune.report({"valid_accuracy": accuracy})

    tuner = tune.Tuner(
        tune.with_parameters(trainable, data=sources.load()),
        param_space={"lr": tune.grid_search(learning_rates(n))},
        tune_config=tune.TuneConfig(
            metric="valid_accuracy",
            mode="max",
            scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=GRACE, reduction_factor=FACTOR),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    return {"epochs": sum(result.metrics["training_iteration"] for result in tuner.fit())}


def optuna_in_processes(n: int, folder: Path) -> dict[str, float]:
    """Optuna: as many processes as cores on one journal file, with its successive halving pruner."""
    study = optuna_study(folder)
    for lr in learning_rates(n):
        study.enqueue_trial({"lr": lr}, user_attrs={"planned": True})
    worker = [sys.executable, __file__, "optuna-worker", str(folder)]
    for process in [subprocess.Popen(worker) for _ in range(CORES)]:
        assert process.wait() == 0
    return {"epochs": sum(len(trial.intermediate_values) for trial in study.trials)}


def optuna_study(folder: Path) -> Any:
    """The study that all processes share."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(folder / "journal.log")
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path))),
        study_name="x",
        direction="maximize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=GRACE, reduction_factor=FACTOR, min_early_stopping_rate=0
        ),
        load_if_exists=True,
    )


def optuna_worker(folder: Path) -> None:
    """One of Optuna's processes: trains what is waiting."""
    import optuna
    from optuna.trial import TrialState

    from tune_app.task.images import sources

    data = sources.load()
    study = optuna_study(folder)

    def objective(trial: optuna.Trial) -> float:
        if "planned" not in trial.user_attrs:  # the other process was quicker: nothing is left
            raise optuna.TrialPruned
        accuracy = 0.0
        for epoch, accuracy in enumerate(train(trial.suggest_float("lr", 1e-3, 1, log=True), data), 1):
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy

    while study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.optimize(objective, n_trials=1)


OURS, RAY, OPTUNA = "tune_app", "Ray Tune as documented", "Optuna, a process a core"
SCRIPTS: dict[str, Callable[[int, Path], dict[str, float]]] = {RAY: ray_as_documented, OPTUNA: optuna_in_processes}
PROGRAMS = (OURS, *SCRIPTS)


# ---- measuring -------------------------------------------------------------------------------------------


def measure(program: str, n: int) -> dict[str, float]:
    """Run a program once in a fresh process and an empty folder; wall seconds, and epochs trained."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        env = {**os.environ, "HOME": name, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        script = [sys.executable, __file__, "one", program, str(n), name]
        command = our_command(n, folder) if program == OURS else script
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
        if done.returncode != 0:
            raise click.ClickException(f"{program}: {done.stderr[-2000:]}")
        trained = our_epochs(folder) if program == OURS else json.loads(done.stdout.splitlines()[-1])
        return {"wall": wall, **trained}


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def table(n: int, runs: dict[str, list[dict[str, float]]]) -> str:
    """The measurements of one number of trials as a Markdown table, and the ratios pair by pair."""
    lines = [
        f"### {n} trials",
        "",
        "| | wall, s: median (range) | epochs trained | s per epoch | times tune_app |",
        "|--|--|--|--|--|",
    ]
    mine = runs[OURS]
    for program, measured in runs.items():
        ratios = [theirs["wall"] / our["wall"] for theirs, our in zip(measured, mine, strict=True)]
        epochs = statistics.median(run["epochs"] for run in measured)
        per_epoch = statistics.median(run["wall"] / run["epochs"] for run in measured)
        walls = spread([run["wall"] for run in measured])
        lines.append(f"| {program} | {walls} | {epochs:.0f} | {per_epoch:.3f} | {spread(ratios)} |")
    limit = spread([run["training"] for run in mine])
    lines.append(f"| training seconds of tune_app / {CORES} cores, the limit | {limit} | | | |")
    beyond = spread([run["wall"] - run["training"] for run in mine])
    optuna = runs[OPTUNA]
    per_epoch_ratio = [
        (our["wall"] / our["epochs"]) / (theirs["wall"] / theirs["epochs"])
        for our, theirs in zip(mine, optuna, strict=True)
    ]
    ratio = f"{statistics.median(per_epoch_ratio):.2f} ({min(per_epoch_ratio):.2f} to {max(per_epoch_ratio):.2f})"
    lines += ["", f"Beyond training: {beyond} s. Per epoch trained, tune_app / Optuna: {ratio}.", ""]
    return "\n".join(lines)


@click.group()
def main() -> None:
    """Measure this app against its peers."""


main.add_command(target)


@main.command()
@click.option("--trials", type=int, multiple=True, default=(24, 100), show_default=True)
@click.option("--rounds", type=int, default=5, show_default=True)
@click.option("--ray-tune/--no-ray-tune", default=True, help="Ray Tune takes most of the time: minutes a round.")
def search(trials: tuple[int, ...], rounds: int, ray_tune: bool) -> None:
    """The same search by this app, by Ray Tune and by Optuna."""
    click.echo(f"{CORES} cores, load {os.getloadavg()[0]:.2f}, {rounds} rounds in turns\n")
    for n in trials:
        runs: dict[str, list[dict[str, float]]] = {
            program: [] for program in PROGRAMS if ray_tune or program != RAY
        }
        for round_ in range(rounds):
            for program, measured in runs.items():
                measured.append(measure(program, n))
                click.echo(f"round {round_ + 1}, {n} trials, {program}: {measured[-1]}", err=True)
        click.echo(table(n, runs))


@main.command()
@click.option("--trials", type=int, default=100, show_default=True)
@click.option("--rounds", type=int, default=3, show_default=True)
def cluster(trials: int, rounds: int) -> None:
    """The same search on two nodes with one CPU each, and on one node with two."""
    script = str(Path(__file__).with_name("cluster"))
    walls: dict[str, list[float]] = {"2 1": [], "1 2": []}
    for _ in range(rounds):
        for shape, measured in walls.items():
            with tempfile.TemporaryDirectory(prefix="bench-") as name:
                folder = Path(name)
                env = {**os.environ, "RAY_AUTH_MODE": "disabled", "TUNE_APP_CLUSTER": f"/tmp/bench-{os.getpid()}"}
                started = subprocess.run(
                    [script, "start", *shape.split()], env=env, capture_output=True, check=True
                )
                try:
                    address = started.stdout.decode().splitlines()[0].split()[-1]
                    command = [*our_command(trials, folder), "--address", address]
                    start = time.perf_counter()
                    subprocess.run(command, cwd=folder, env=env, capture_output=True, check=True)
                    measured.append(time.perf_counter() - start)
                    click.echo(f"{shape.split()[0]} nodes: {measured[-1]:.1f} s", err=True)
                finally:
                    subprocess.run([script, "stop"], env=env, check=True)
    two, one = walls.values()
    ratios = [a / b for a, b in zip(two, one, strict=True)]
    click.echo(f"load {os.getloadavg()[0]:.2f}")
    click.echo(f"2 nodes with 1 CPU each: {spread(two)} s; 1 node with 2 CPUs: {spread(one)} s")
    click.echo(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


@main.command()
@click.option("--trials", type=int, default=10_000, show_default=True)
def scale(trials: int) -> None:
    """A search of very many trials that train nothing: does its cost stay bounded?"""
    from tune_app import driver
    from tune_app.cluster import connect
    from tune_app.experiment.history import History
    from tune_app.experiment.space import load_space
    from tune_app.session import Caller
    from tune_app.storage.location import paths

    connect.import_ray(None)
    from tune_app.trials import bridge
    from tune_app.trials.worker import TrialWorker

    bridge.TrialWorker = type("Trivial", (TrialWorker,), {"attempt": trivial})  # type: ignore[misc]
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    looks: list[tuple[int, float, float]] = []  # trials, seconds, kB

    def look(history: History, _num_trials: int) -> None:
        begun = len(history.trials)
        if begun >= len(looks) * trials // 10:
            looks.append((begun, time.perf_counter(), resident_kb()))
            if begun == trials:  # leaves a little to be resumed
                os.kill(os.getpid(), signal.SIGINT)

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "space.yaml").write_text(
            f"space: {{level: linear, lr: {{loguniform: [0.001, 1]}}}}\n"
            f"search: {{num_samples: {trials}, max_epochs: 1, results_per_epoch: 1, early_stopping: false,"
            f" sampler: random}}"
        )
        at = paths(folder / "experiments", "x")
        caller = Caller(connect.Where(), lambda _text: None, look)
        driver.run(load_space(str(folder / "space.yaml")), (), at, caller)
        click.echo(
            f"{CORES} cores, load {os.getloadavg()[0]:.2f}\n\n| trials | ms a trial | kB a trial |\n|--|--|--|"
        )
        for (n0, t0, m0), (n1, t1, m1) in itertools.pairwise(looks):
            click.echo(f"| {n1} | {(t1 - t0) / (n1 - n0) * 1000:.1f} | {(m1 - m0) / (n1 - n0):.1f} |")
        (n0, t0, m0), (n1, t1, m1) = looks[1], looks[-1]
        click.echo(f"\nMemory of the driver: {(m1 - m0) / (n1 - n0):.1f} kB a trial.")
        click.echo(f"The record: {at.record.stat().st_size / 1e6:.1f} MB.")
        for command in (["status", "x"], ["resume", "x", "--no-dashboard", "--quiet"]):
            start = time.perf_counter()
            subprocess.run([TUNE_APP, *command], cwd=folder, capture_output=True, check=True)
            click.echo(f"tune-app {command[0]}: {time.perf_counter() - start:.1f} s.")
    for n, seconds in tpe_seconds(min(trials, 3000)):
        click.echo(f"TPE asks after {n} trials: {seconds * 1000:.0f} ms a trial.")


def trivial(_worker: object, work: "Work") -> Iterator["Started | Trained"]:
    """Instead of a training: a result that depends on the trial's seed alone."""
    from tune_app.task.result import Result
    from tune_app.trials.worker import Started, Trained

    worker = {"node": "here", "pid": os.getpid(), "cpu": "any", "threads": 1, "device": "cpu"}
    yield Started(worker)
    accuracy = work.seed / 2**31
    values = {"valid_accuracy": accuracy, "valid_loss": 1 - accuracy}
    yield Trained(Result(1, 1.0, values, 1 - accuracy, 0, 0.0, 0.0, parameters=1), b"")


def resident_kb() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1000


def tpe_seconds(most: int) -> Iterator[tuple[int, float]]:
    """Seconds that TPE takes to ask, after so many trials with made-up values."""
    from tune_app.engine.sampler import Sampler
    from tune_app.experiment.history import History
    from tune_app.experiment.space import load_space
    from tune_app.experiment.spec import DataSource, Spec
    from tune_app.experiment.trial import COMPLETED, Trial
    from tune_app.task.result import Result

    source = load_space("cnn")
    data = DataSource(source=None, digest="d")
    spec = Spec(name="x", task=source.task, space=source.content, settings=source.settings, data=data, versions={})
    history, sampler = History(spec, 0.0), Sampler(source.space, source.settings)
    for number in range(most + 1):
        start = time.perf_counter()
        config = sampler.ask(history)
        seconds = time.perf_counter() - start
        if number in (10, 100, 300, 1000, 3000):
            yield number, seconds
        trial = Trial(number, config, 0, "cnn", COMPLETED)
        value = 1 - abs(float(config["lr"]) - 0.1)
        end = source.settings.max_epochs
        trial.results = [Result(1, end, {"valid_accuracy": value}, 0.0, 0, 0.0, 0.0, 1, trial=number)]
        trial.best = trial.results[0]
        history.trials.append(trial)


@main.command(hidden=True)
@click.argument("program")
@click.argument("n", type=int)
@click.argument("folder", type=click.Path(path_type=Path))
def one(program: str, n: int, folder: Path) -> None:
    """Run one of the scripts in this process."""
    click.echo(json.dumps(SCRIPTS[program](n, folder)))


@main.command("optuna-worker", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
def worker(folder: Path) -> None:
    """One of Optuna's processes."""
    optuna_worker(folder)


if __name__ == "__main__":
    main()
