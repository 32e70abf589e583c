"""Results for TensorBoard and MLflow, read back by their own readers."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result as Done
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.made_up import ask_and_start, diverged, give, give_one, searching, tell
from tests.refused import error_of
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.trial import Trial
from tune_app.output import results
from tune_app.output.results import write_mlflow, write_tensorboard
from tune_app.storage.load import load_experiment

SPACE = {
    "level": {"choice": ["linear", "cnn", "optim"]},
    "lr": {"loguniform": [0.01, 1]},
    "momentum": {"choice": [0, 0.9], "when": {"level": ["cnn"]}},
}
OF_TENSORBOARD = {"completed": 1, "stopped": 1, "failed": 2, "interrupted": 0}
OF_MLFLOW = {"completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def fill(search: Search) -> None:
    """Trials in every state; one diverges, and no record has a number that is not finite."""
    for number in range(6):
        give(search, ask_and_start(search), *[0.9 - number / 100, *[0.8] * 8])
    tell(search, ask_and_start(search), diverged(1))
    give_one(search, failing := ask_and_start(search), 1, 0.2)
    search.failed(failing, "Traceback\nValueError: \udc80 broken")
    give_one(search, ask_and_start(search), 1, 0.95)
    search.ask()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Experiments: one that runs, one that was interrupted, and one that is minimized and finished.

    The last has more results than MLflow takes in a call.
    """
    folder = tmp_path_factory.mktemp("experiments")
    with searching(folder, "interrupted", SPACE) as search:
        fill(search)
    long: dict[str, Any] = {"metric": "valid_loss", "max_epochs": 260, "early_stopping": False}
    with searching(folder, "finished", SPACE, end="completed", **long) as search:
        give(search, ask_and_start(search), *[0.5] * 260)
    with searching(folder, "running", SPACE, scheduler="promotion") as search:
        fill(search)
        yield folder


@pytest.fixture(params=["running", "interrupted", "finished"])
def experiment(folder: Path, request: pytest.FixtureRequest) -> Experiment:
    return load_experiment(request.param, folder)


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all of them; making its tables takes MLflow some seconds."""
    path = tmp_path_factory.mktemp("written") / "a ?b%20#ü" / "runs.db"
    for name in ("running", "interrupted", "finished"):
        one = load_experiment(name, folder)
        assert write_mlflow(one, str(path)) == one.history.results
    assert [file.name for file in path.parent.iterdir()] == ["runs.db"]
    return path


@pytest.fixture
def database(written: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may write to."""
    return Path(shutil.copy(written, tmp_path / "runs.db"))


def reader(database: Path) -> MlflowClient:
    with results.tracking_client(str(database)) as client:
        return client


def runs_of(client: MlflowClient, name: str) -> tuple[Any, list[Any]]:
    """The run of a search, and those nested under it in the order of the trials."""
    found = client.get_experiment_by_name(name)
    assert found is not None
    runs = client.search_runs([found.experiment_id], max_results=1000)
    (search,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == search.info.run_id]
    assert len(nested) == len(runs) - 1
    return search, sorted(nested, key=lambda run: int(run.info.run_name.removeprefix("trial ")))


def series(experiment: Experiment, trial: Trial) -> dict[str, list[tuple[int, float, float]]]:
    """What both tools are to show of a trial: by name each step, value and time, as the record says it."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for r in trial.results:
        for name, value in {**r.valid, "train_loss": r.train_loss, "epoch": r.epoch}.items():
            found.setdefault(name, []).append((r.k, value, r.time))
    if trial.best:
        name = experiment.history.metric.name
        found[f"best_{name}"] = [(trial.best.k, trial.best.valid[name], trial.best.time)]
    return found


def test_tensorboard_reads_the_scalars_of_each_trial_beside_its_config_seed_and_state(experiment, tmp_path) -> None:
    assert write_tensorboard(experiment, tmp_path / "logs") == experiment.history.results
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]

    def read(run: Path) -> EventAccumulator:
        return EventAccumulator(str(run), {"scalars": 0, "tensors": 0}).Reload()

    for trial in experiment.history.trials:
        events = read(tmp_path / "logs" / f"trial-{trial.number:04d}")
        expected = series(experiment, trial)
        assert sorted(events.Tags()["scalars"]) == sorted(expected)
        for name, points in expected.items():
            shown = events.Scalars(name)
            assert [(event.step, event.wall_time) for event in shown] == [(k, time) for k, _, time in points]
            values = [value for _, value, _ in points]
            assert [event.value for event in shown] == pytest.approx(values)
        if trial.reason:
            (reason,) = events.Tensors("reason/text_summary")
            assert reason.tensor_proto.string_val[0].decode() == trial.reason.replace("\udc80", "\\udc80")
        state = experiment.trial_state(trial)
        begun, ended = map(HParamsPluginData.FromString, events.PluginTagToContent("hparams").values())
        hparams = begun.session_start_info.hparams.items()
        found = {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams}
        assert found == {**trial.config, "seed": trial.seed, "state": state}
        assert ended.session_end_info.status == OF_TENSORBOARD.get(state, 3)
    (text,) = read(tmp_path / "logs").Tensors(f"{experiment.name}/text_summary")
    words = dict(line.split(": ", 1) for line in text.tensor_proto.string_val[0].decode().split("\n\n"))
    assert words == results.about(experiment)


def test_mlflow_reads_a_run_for_each_trial_nested_under_the_search(experiment, written: Path) -> None:
    client = reader(written)
    search, runs = runs_of(client, experiment.name)
    history, metric = experiment.history, experiment.history.metric
    assert results.about(experiment).items() <= search.data.tags.items()
    assert search.data.tags["direction"] == ("minimize" if experiment.name == "finished" else "maximize")
    assert search.info.status == (OF_MLFLOW | {"finished": "FINISHED"}).get(experiment.state, "RUNNING")
    assert search.data.params["num_samples"] == str(history.spec.settings.num_samples)
    assert search.data.metrics == {f"best_{metric.name}": metric.value(history.best)}
    for run, trial in zip(runs, history.trials, strict=True):
        state = experiment.trial_state(trial)
        assert run.data.params == {**{k: str(v) for k, v in trial.config.items()}, "seed": str(trial.seed)}
        assert (run.data.tags["state"], run.info.status) == (state, OF_MLFLOW.get(state, "RUNNING"))
        assert run.data.tags["reason"] == (trial.reason or "").replace("\udc80", "\\udc80")
        assert (run.info.end_time is None) == (state not in OF_MLFLOW)
        expected = series(experiment, trial)
        assert run.data.metrics.keys() == expected.keys()
        for name, points in expected.items():
            shown = [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name)]
            wanted = [(k, value, int(time * 1000)) for k, value, time in points]
            assert sorted(shown) == wanted


def test_mlflow_gets_a_search_anew_in_the_place_of_what_was_written_before(folder, tmp_path, database) -> None:
    before, _ = runs_of(reader(database), "finished")
    write_mlflow(load_experiment("finished", folder), str(database))
    again, trials = runs_of(reader(database), "finished")  # one search, one run of it
    assert (before.info.run_id != again.info.run_id, len(trials)) == (True, 1)
    with searching(tmp_path, "finished", SPACE) as search:  # another of that name
        search.ask()
    write_mlflow(load_experiment("finished", tmp_path), str(database))
    client = reader(database)
    at = client.get_experiment_by_name("finished").experiment_id
    names = sorted(run.info.run_name for run in client.search_runs([at]))
    assert names == ["finished", "finished", "trial 0", "trial 0"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_after_an_error_there_is_what_was_there_before(folder, tmp_path, database, monkeypatch, error) -> None:
    one = load_experiment("running", folder)
    before = [run.info.run_id for run in runs_of(reader(database), "running")[1]]

    def breaks_off(of: Any, trial: Trial) -> Iterator[results.Point]:
        if trial.number == 3:
            raise error
        yield from points(of, trial)

    points = results.points
    monkeypatch.setattr(results, "points", breaks_off)
    for write in (
        lambda: write_mlflow(one, str(database)),
        lambda: write_mlflow(one, str(tmp_path / "new.db")),
        lambda: write_tensorboard(one, tmp_path / "logs"),
    ):
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else TuneAppError):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]
    assert [run.info.run_id for run in runs_of(reader(database), "running")[1]] == before


Run = Callable[..., Done]


def test_the_command_writes_where_it_says_or_says_what_to_install(run: Run, folder, database, monkeypatch) -> None:
    name, *there = "finished", "--experiments-dir", folder
    done = run("results", name, "--format", "tensorboard", *there)
    assert (done.exit_code, done.stdout) == (0, "wrote finished-tensorboard: 260 results\n")
    assert {path.name for path in Path("finished-tensorboard").iterdir()} > {"trial-0000"}
    refused = error_of(run("results", name, "--format", "tensorboard", *there))
    assert refused == "finished-tensorboard: exists already, allowed: another folder with -o"
    done = run("results", name, "--format", "mlflow", "-o", f"sqlite:///{database}", *there)
    assert (done.exit_code, done.stdout) == (0, f"wrote sqlite:///{database}: 260 results\n")
    assert run("results", name, "--format", "csv", *there).exit_code == 2
    monkeypatch.setitem(sys.modules, "mlflow", None)
    refused = error_of(run("results", name, "--format", "mlflow", *there))
    assert refused == "mlflow is not installed: pip install 'tune_app[mlflow]'"
    assert {path.name for path in Path.cwd().iterdir()} == {"finished-tensorboard", "runs.db"}


def test_what_mlflow_cannot_write_to_is_one_line_without_a_password(run, folder, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    Path("junk.db").write_text("junk" * 1000)
    Path("folder.db").mkdir()
    for where, reason in {
        "junk.db": "junk.db: MLflow cannot write there: ",
        "folder.db": "folder.db: MLflow cannot write there: ",
        "http://me:secret@127.0.0.1:1": "http://...@127.0.0.1:1: MLflow cannot write there: API request to ",
        "mssql+nothing://me:secret@127.0.0.1/x": "mssql+nothing://...@127.0.0.1/x: MLflow cannot write there: ",
        "s3://me:secret@bucket": "s3://...: is no path on this machine, allowed: a file for SQLite, or ",
    }.items():
        done = run("results", "finished", "--format", "mlflow", "-o", where, "--experiments-dir", folder)
        assert error_of(done).startswith(reason)
        assert "secret" not in done.stderr
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["folder.db", "junk.db"]
    assert Path("junk.db").read_text() == "junk" * 1000


WATCHED = """
import os, sys
from pathlib import Path
allowed = (os.getcwd(), "/dev/", sys.prefix)  # Python's own caches of what it imports
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print(event, arguments, file=sys.stderr)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if not os.path.abspath(os.fsdecode(arguments[0])).startswith(allowed):
            print(event, arguments, file=sys.stderr)
sys.addaudithook(watch)
from tune_app.cli import main
main()
"""


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_nothing_is_sent_and_nothing_is_written_elsewhere(folder: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    command = ["results", "finished", "--format", kind, "--experiments-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED, *command],
        cwd=tmp_path / "here",
        env={"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},  # as no CI
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = {"tensorboard": "finished-tensorboard", "mlflow": "finished-mlflow.db"}[kind]
    assert [path.name for path in (tmp_path / "here").iterdir()] == [made]
    assert list((tmp_path / "home").iterdir()) == []
