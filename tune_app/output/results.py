"""All results in a file, or for the tools that people have: in TensorBoard and MLflow a trial is a run.

The step of a value is the number of its result within the trial, from 1: both tools count in integers, and epochs
have fractions. So the epoch stands beside the metrics, as one more value.
"""

import logging
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_app.errors import TuneAppError
from tune_app.experiment.experiment import FINISHED, INTERRUPTED, Experiment
from tune_app.experiment.history import History
from tune_app.experiment.table import encodable, results_table
from tune_app.experiment.trial import COMPLETED, FAILED, STOPPED, Trial
from tune_app.typed_path import current_directory, typed_path
from tune_app.whole import whole

if TYPE_CHECKING:
    from mlflow import MlflowClient

OF_TENSORBOARD = {COMPLETED: "SUCCESS", STOPPED: "SUCCESS", FAILED: "FAILURE", INTERRUPTED: "UNKNOWN"}
OF_MLFLOW = {
    FINISHED: "FINISHED",
    COMPLETED: "FINISHED",
    STOPPED: "FINISHED",
    FAILED: "FAILED",
    INTERRUPTED: "KILLED",
}
"""Their words for the states of trials and searches; what has not ended is RUNNING."""
TRACKING_URI = re.compile(r"(https?|databricks|sqlite|(postgresql|mysql|mssql)(\+\w+)?)://")
Point = tuple[str, float, int, float]
"""A number of a trial: its name, value, step and time."""
METRICS_AT_ONCE, PARAMS_AT_ONCE, MOST_RUNS = 1000, 100, 50_000
"""What MLflow takes in a call, and how many runs it gives in one."""


def write_results(experiment: Experiment, path: Path) -> int:
    """Write a row per result, in the format that the file's ending names; return how many.

    Parquet has types, units and meanings in its schema; CSV begins with the names, and null is an empty field.
    Raises `TuneAppError` for another ending and where the file cannot be written.
    """
    from pyarrow import csv, parquet

    writers = {".parquet": parquet.write_table, ".csv": csv.write_csv}
    if path.suffix not in writers:
        raise TuneAppError(f"{path}: ends in {path.suffix or 'nothing'!r}, allowed: {', '.join(writers)}")
    with whole(path) as part:
        writers[path.suffix](results_table(experiment), part)
    return experiment.history.results


def points(history: History, trial: Trial) -> Iterator[Point]:
    """All numbers of a trial's results, and at last its best value of the search's metric."""
    for result in trial.results:
        numbers = {**result.valid, "train_loss": result.train_loss, "epoch": result.epoch}
        yield from ((name, value, result.k, result.time) for name, value in numbers.items())
    if best := trial.best:
        yield f"best_{history.metric.name}", history.metric.value(best), best.k, best.time


def times(history: History, trial: Trial) -> tuple[float, float]:
    """When a trial began and ended, since 1970; where it has not, the time of the record's last entry."""
    last = history.spans[-1][1] if history.spans else history.created
    return trial.attempts[0]["time"] if trial.attempts else last, trial.ended_at or last


def about(experiment: Experiment) -> dict[str, str]:
    """What is told of a search: its state, what better means, and its best result."""
    metric, best = experiment.history.metric, experiment.history.best
    direction = "maximize" if metric.mode == "max" else "minimize"
    told = {"state": experiment.state, "metric": metric.name, "direction": direction}
    if best:
        told["best"] = f"{metric.value(best):.6g} at epoch {best.epoch:g} of trial {best.trial}"
    return told


def write_tensorboard(experiment: Experiment, folder: Path) -> int:
    """Make `folder`, a log directory with a run for each trial: scalars and HParams; return the number of results.

    Raises `TuneAppError` where the folder exists or cannot be written.
    """
    from tensorboardX.event_file_writer import EventsWriter  # SummaryWriter's thread would hide a full disk
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import text

    history = experiment.history
    words = "\n\n".join(f"{name}: {value}" for name, value in about(experiment).items())
    search = Event(summary=text(experiment.name, words), wall_time=history.created)
    with whole(folder, folder=True) as part:
        runs = {f"trial-{trial.number:04d}": trial_events(experiment, trial) for trial in history.trials}
        for name, events in {".": iter([search]), **runs}.items():
            (part / name).mkdir(exist_ok=True)
            writer = EventsWriter(str(part / name / "events"))
            for event in events:
                writer.write_event(event)
            writer.close()
    return history.results


def trial_events(experiment: Experiment, trial: Trial) -> Iterator[Any]:
    """The events of a trial's run. Its HParams are config, seed and state."""
    from google.protobuf.struct_pb2 import Struct
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.summary import scalar, text

    def hparams(**content: Any) -> Any:
        """The summary of TensorBoard's plugin that says what a run began with, or how it ended."""
        data = HParamsPluginData(version=0, **content).SerializeToString()
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data)
        tag = f"_hparams_/{next(iter(content))}"
        return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])

    state, (begin, end) = experiment.trial_state(trial), times(experiment.history, trial)
    config = Struct()
    config.update({**trial.config, "seed": trial.seed, "state": state})
    session = SessionStartInfo(hparams=dict(config.fields), start_time_secs=begin)
    yield Event(summary=hparams(session_start_info=session), wall_time=begin)
    for name, value, step, time in points(experiment.history, trial):
        yield Event(summary=scalar(name, value), step=step, wall_time=time)
    if trial.reason:
        yield Event(summary=text("reason", encodable(trial.reason)), wall_time=end)
    status = Status.Value(f"STATUS_{OF_TENSORBOARD.get(state, 'RUNNING')}")
    ended = SessionEndInfo(status=status, end_time_secs=end)
    yield Event(summary=hparams(session_end_info=ended), wall_time=end)


def write_mlflow(experiment: Experiment, where: str) -> int:
    """Write a run for the search and, nested under it, one for each trial; return the number of results.

    `where`: see `tracking_client`. MLflow's experiment is called like ours. What was written of the same search
    before is deleted as soon as the new runs are there; after an error, the new runs are deleted.
    Raises `TuneAppError` where mlflow is missing or cannot write.
    """
    history, metric = experiment.history, experiment.history.metric
    identity = f"{history.spec.name} {history.created}"
    with tracking_client(where) as client:
        there = client.get_experiment_by_name(experiment.name)
        at = there.experiment_id if there else client.create_experiment(experiment.name)
        same = client.search_runs([at], f"tags.`tune_app.search` = '{identity}'", max_results=MOST_RUNS)
        before, made = [run.info.run_id for run in same], list[str]()

        def begin(name: str, time: float, tags: dict[str, str]) -> str:
            """A new run; its id."""
            tags = {**tags, "tune_app.search": identity}
            made.append(client.create_run(at, int(time * 1000), tags, name).info.run_id)
            return made[-1]

        def end(run: str, state: str, time: float) -> None:
            """End a run, unless its trial or search goes on."""
            if state in OF_MLFLOW:
                client.set_terminated(run, OF_MLFLOW[state], int(time * 1000))

        try:
            search, best = begin(experiment.name, history.created, about(experiment)), history.best
            found = [(f"best_{metric.name}", metric.value(best), best.k, best.time)] if best else []
            log(client, search, history.spec.settings.model_dump(exclude_none=True), found)
            for trial in history.trials:
                state, (began, ended) = experiment.trial_state(trial), times(history, trial)
                tags = {"mlflow.parentRunId": search, "state": state, "reason": encodable(trial.reason or "")}
                run = begin(f"trial {trial.number}", began, tags)
                log(client, run, {**trial.config, "seed": trial.seed}, points(history, trial))
                end(run, state, ended)
            end(search, experiment.state, history.spans[-1][1] if history.spans else history.created)
        except BaseException:
            with suppress(Exception):  # where it cannot be reached any more: the next call deletes them
                delete(client, made)
            raise
        delete(client, before)
    return history.results


def log(client: "MlflowClient", run: str, params: dict[str, Any], numbers: Iterable[Point]) -> None:
    """Give a run its params and metrics, as many in a call as MLflow takes."""
    from mlflow.entities import Metric, Param

    given = [Param(name, str(value)) for name, value in params.items()]
    metrics = [Metric(name, value, int(time * 1000), step) for name, value, step, time in numbers]
    for i in range(0, len(given), PARAMS_AT_ONCE):
        client.log_batch(run, params=given[i : i + PARAMS_AT_ONCE])
    for i in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(run, metrics[i : i + METRICS_AT_ONCE])


def delete(client: "MlflowClient", runs: list[str]) -> None:
    """Delete runs, which MLflow keeps in its trash."""
    for run in runs:
        client.delete_run(run)


@contextmanager
def tracking_client(where: str) -> Iterator["MlflowClient"]:
    """A client of MLflow's for a tracking URI, or for the path of an SQLite file, which need not exist.

    Whatever goes wrong with MLflow is a `TuneAppError`, and a file that was not there before is away again.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the usual 7 take minutes
    file = None
    if not TRACKING_URI.match(where):
        file = current_directory() / typed_path(
            where, "a file for SQLite, or a tracking URI of a server or database"
        )
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError:
        raise TuneAppError("mlflow is not installed: pip install 'tune_app[mlflow]'") from None
    from mlflow.exceptions import MlflowException
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    new = file is not None and not os.path.lexists(file)
    uri = where if file is None else URL.create("sqlite", database=str(file)).render_as_string()
    try:
        if file:  # where MLflow cannot open a database, it tries for two minutes
            file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(file)) as database:
                database.execute("PRAGMA schema_version")
        yield MlflowClient(tracking_uri=uri)
    except BaseException as error:
        if file and new:
            file.unlink(missing_ok=True)
        if not isinstance(error, (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError)):
            raise
        words = f"{where}: MLflow cannot write there: {str(error).partition(chr(10))[0]}"
        raise TuneAppError(without_password(words)) from None


def without_password(text: str) -> str:
    """A text in which no URL says who may enter."""
    return re.sub(r"//[^/@\s]*@", "//...@", text)
