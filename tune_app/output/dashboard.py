"""An experiment in optuna-dashboard: a study in memory, made from the record, and served for reading only.

The dashboard could delete, rename and annotate. So whatever does not only read is refused before it gets there,
and behind it is nothing that lasts: the study is made anew whenever the record has changed.
"""

import json
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from socketserver import ThreadingMixIn
from threading import Lock
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tune_app.errors import TuneAppError
from tune_app.experiment.distribution import distribution
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.history import replay
from tune_app.experiment.record import is_held
from tune_app.experiment.spec import Paths
from tune_app.experiment.trial import COMPLETED, FAILED, PAUSED, PENDING, RUNNING, STOPPED, Trial

HOST = "127.0.0.1"
READING = ("GET", "HEAD")
"""The methods that only read, or ask a language model, and there is none here."""
REFUSAL = "read-only: the study is made from the experiment's record, and nothing here changes that"
STATES = {
    PENDING: TrialState.WAITING,
    RUNNING: TrialState.RUNNING,
    PAUSED: TrialState.RUNNING,
    STOPPED: TrialState.PRUNED,
    COMPLETED: TrialState.COMPLETE,
    FAILED: TrialState.FAIL,
}
WITH_VALUE = (TrialState.COMPLETE, TrialState.PRUNED)
SHORTEST_PAUSE, LONGEST_SHARE = 1.0, 0.1
"""Seconds between two looks at the record, and how much of its time a server may spend on them."""


def serve(experiment: Experiment, port: int, listening: Callable[[str], object]) -> None:
    """Show an experiment until Ctrl-C or SIGTERM; `listening` is told the URL as soon as it is answered.

    Raises `TuneAppError` where optuna-dashboard is missing or the port cannot be had.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")  # what cannot be drawn of a study is said where it is not drawn
    dashboard = Dashboard(experiment.paths)
    try:
        server = make_server(HOST, port, dashboard, server_class=Server, handler_class=Handler)
    except OSError as error:
        raise TuneAppError(f"port {port}: {error.strerror}, allowed: another --port, 0 for any free one") from None
    logging.getLogger("optuna_dashboard").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server, suppress(KeyboardInterrupt):
        listening(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection: browsers open some that they leave idle, which must not keep others waiting."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Answers requests and says nothing about them."""

    def handle(self) -> None:
        """Answer; a browser that hangs up is no error."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Dashboard:
    """The WSGI application: optuna-dashboard on a study that follows the record."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.lock = Lock()
        self.seen: object = None
        """The state of the record when the study was made."""
        self.next_look = 0.0
        self.follow()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] not in READING:
            return refuse(start_response, "403 Forbidden", REFUSAL)
        environ.setdefault("HTTP_ACCEPT_ENCODING", "identity")  # without any, the dashboard fails at its own files
        try:
            with self.lock:
                self.follow()
                application = self.application
        except TuneAppError as error:
            return refuse(start_response, "503 Service Unavailable", str(error))
        return application(environ, start_response)

    def follow(self) -> None:
        """Make the study anew if the record has changed; not too often, as a long record takes a second to read.

        Raises `TuneAppError` where it is gone or damaged.
        """
        begin = time.monotonic()
        if begin < self.next_look:
            return
        record = self.paths.record
        try:
            held, file = is_held(record), record.stat()
        except OSError as error:
            raise TuneAppError(f"{record}: cannot be read: {error.strerror}") from None
        seen = (held, file.st_size, file.st_mtime_ns)
        if seen != self.seen:
            study = study_of(Experiment(self.paths, replay(record), held))
            self.application, self.seen = dashboard_of(study), seen
        end = time.monotonic()
        self.next_look = end + max(SHORTEST_PAUSE, (end - begin) / LONGEST_SHARE)


def refuse(start_response: StartResponse, status: str, reason: str) -> list[bytes]:
    """Answer with an error as the dashboard itself does: its page shows the reason."""
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


def dashboard_of(study: optuna.Study) -> WSGIApplication:
    """An optuna-dashboard that shows one study; `TuneAppError` where it is not installed."""
    try:
        import optuna_dashboard
    except ModuleNotFoundError:
        raise TuneAppError("optuna-dashboard is not installed: pip install 'tune_app[dashboard]'") from None
    application: WSGIApplication = optuna_dashboard.wsgi(study._storage)
    return application


def study_of(experiment: Experiment) -> optuna.Study:
    """A study in memory, named like the experiment, with everything that Optuna has a place for."""
    history = experiment.history
    metric = history.metric
    study = optuna.create_study(
        study_name=experiment.name, direction="maximize" if metric.mode == "max" else "minimize"
    )
    study.set_metric_names([metric.name])
    study.set_user_attr("state", experiment.state)
    if history.best:  # which Optuna looks for among completed trials alone
        best = history.best
        words = f"{metric.value(best):.4f} at epoch {best.epoch:g} of trial {best.trial}"
        study.set_user_attr("best", words)
    space = history.spec.search_space()
    distributions = {d.name: distribution(d) for d in space.dimensions}
    for trial in history.trials:
        existing = {d.name: distributions[d.name] for d in space.existing(trial.config)}
        study.add_trial(frozen(experiment, trial, existing))
    return study


def frozen(experiment: Experiment, trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    """A trial in Optuna's terms. Its value is that of its best result; a failed one has none there."""
    metric, state = experiment.history.metric, STATES[trial.state]
    begin = trial.attempts[0]["time"] if trial.attempts else trial.ended_at
    attributes: dict[str, Any] = {
        "state": experiment.trial_state(trial),
        "reason": trial.reason,
        "epochs": trial.epoch,
        "seed": trial.seed,
    }
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=state,
        value=metric.value(trial.best) if trial.best and state in WITH_VALUE else None,
        datetime_start=moment(begin),
        datetime_complete=moment(trial.ended_at),
        params={name: trial.config[name] for name in distributions},
        distributions=distributions,
        user_attrs={name: value for name, value in attributes.items() if value is not None},
        system_attrs={},
        intermediate_values={result.k: metric.value(result) for result in trial.results},
    )


def moment(seconds: float | None) -> datetime | None:
    """A time of the record as Optuna has it: local, without a zone."""
    return None if seconds is None else datetime.fromtimestamp(seconds)
