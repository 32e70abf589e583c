"""The record in Optuna's dashboard: a real server, asked over HTTP, by which nobody can change anything."""

import hashlib
import json
import re
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
import requests
from bottle import Bottle
from click.testing import CliRunner

from tests.end_to_end.conftest import Running, tune_app
from tests.made_up import ask_and_start, give, give_one, spec_of
from tests.refused import error_of
from tune_app.cli import main
from tune_app.engine.search import Search
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.record import read_entries
from tune_app.output import dashboard
from tune_app.output.dashboard import Dashboard, dashboard_of
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths

pytestmark = pytest.mark.filterwarnings("ignore")  # what Optuna says of plots, as where it is served

SPACE = {
    "level": {"choice": ["linear", "cnn", "optim"]},
    "lr": {"loguniform": [0.01, 1]},
    "bs": 64,
    "momentum": {"choice": [0, 0.9], "when": {"level": ["cnn"]}},
    "weight_decay": {"uniform": [0.5, 0.9], "when": {"momentum": [0]}},
}
STATES = {
    "completed": "Complete",
    "stopped": "Pruned",
    "failed": "Fail",
    "running": "Running",
    "interrupted": "Running",
    "pending": "Waiting",
}


def search_of(folder: Path, name: str, **settings: Any) -> Search:
    """A search that has begun in `folder`/experiments."""
    search = Search.create(spec_of(name, SPACE, **settings), paths(folder / "experiments", name))
    search.begin()
    return search


def of_every_kind(folder: Path, name: str) -> Search:
    """A search with trials in every state and of every level."""
    search = search_of(folder, name)
    for number in range(9):
        give(search, ask_and_start(search), *[0.9 - number / 100, *[0.8] * 8])
    give_one(search, ask_and_start(search), 1, 0.99)
    search.failed(9, "Traceback:\nValueError: broken")
    give_one(search, ask_and_start(search), 1, 0.99)
    search.ask()
    return search


def digest(folder: Path) -> str:
    """Of every file in a folder: its name and what it holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


Shown = tuple[Any, ...]
"""Of a trial: number, state, parameters, values, results, start, end and attributes."""


class Server(Running):
    """tune-app dashboard in a process of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, "dashboard", name, "--port", 0)
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rstrip("/").rpartition(":")[2])
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str) -> Any:
        answer = self.session.get(self.url + path, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def trials(self) -> list[Shown]:
        return [in_short(trial) for trial in self.get("api/studies/0")["trials"]]


def in_short(trial: dict[str, Any]) -> Shown:
    """What the dashboard says of it."""
    params = {param["name"]: param["param_external_value"] for param in trial["params"]}
    results = {result["step"]: result["value"] for result in trial["intermediate_values"]}
    attributes = {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}
    times = trial.get("datetime_start"), trial.get("datetime_complete")
    return trial["number"], trial["state"], params, trial.get("values"), results, *times, attributes


def expected(experiment: Experiment) -> list[Shown]:
    """What it has to say of each, from the record."""
    times: dict[tuple[str, int], str] = {}
    for e in read_entries(experiment.paths.record):
        times.setdefault((e["kind"], e.get("trial", -1)), datetime.fromtimestamp(e["time"]).isoformat())
    found = []
    for trial in experiment.history.trials:
        names = ["level", "lr", "bs"]
        if trial.config["level"] == "cnn":
            names += ["momentum", "weight_decay"][: 2 if trial.config["momentum"] == 0 else 1]
        params = {name: str(trial.config[name]) for name in names}
        results = {result.k: result.valid["valid_accuracy"] for result in trial.results}
        values = [max(results.values())] if trial.state in ("completed", "stopped") else None
        about = {"state": experiment.trial_state(trial), "reason": trial.reason}
        about |= {"epochs": str(trial.epoch), "seed": str(trial.seed)}
        attributes = {key: value for key, value in about.items() if value is not None}
        begin, end = (times.get((kind, trial.number)) for kind in ("started", "ended"))
        found.append((trial.number, STATES[trial.state], params, values, results, begin, end, attributes))
    return found


def asked(application: WSGIApplication, path: str) -> tuple[str, Any]:
    """Ask an application without a server: the status, and what its JSON says."""
    statuses: list[str] = []
    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    answer = b"".join(cast(Any, application)(environ, lambda status, *_: statuses.append(status)))
    return statuses[0], json.loads(answer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the experiments of this module lie."""
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def search(folder: Path) -> Iterator[Search]:
    """A search that is going on."""
    search = of_every_kind(folder, "made")
    yield search
    search.close()


@pytest.fixture(scope="module")
def server(folder: Path, search: Search) -> Iterator[Server]:
    """The dashboard of that search."""
    server = Server(folder, "made")
    yield server
    server.process.kill()
    server.process.communicate()


def test_the_study_says_what_the_record_says(folder: Path, server: Server) -> None:
    (study,) = server.get("api/studies")["study_summaries"]
    assert (study["study_name"], study["directions"]) == ("made", ["maximize"])
    detail = server.get("api/studies/0")
    assert detail["objective_names"] == ["valid_accuracy"]
    attributes = {a["key"]: a["value"] for a in detail["user_attrs"]}
    assert attributes == {"state": "running", "best": "0.9900 at epoch 1 of trial 9"}
    trials = server.trials()
    assert trials == expected(load_experiment("made", folder / "experiments"))
    assert {state for _, state, *_ in trials} == set(STATES.values())
    assert {len(params) for _, _, params, *_ in trials} == {3, 4, 5}
    assert [trial["number"] for trial in detail["best_trials"]] == [0]
    lr = next(param for param in detail["trials"][0]["params"] if param["name"] == "lr")["distribution"]
    assert lr == {"type": "FloatDistribution", "low": 0.01, "high": 1, "step": None, "log": True}


def routes(writing: bool) -> list[tuple[str, str]]:
    """Method and path of every route of the installed dashboard that may write, or that only reads."""
    application = dashboard_of(optuna.create_study())
    assert isinstance(application, Bottle)
    found = [(route.method, re.sub(r"<[^>]*>", "0", route.rule).lstrip("/")) for route in application.routes]
    return [(method, path) for method, path in found if (method != "GET") == writing]


BODY = {"study_name": "other", "directions": ["minimize"], "version": 1, "body": "a note", "state": "Fail"}
BODY |= {"user_attrs": {"a": 1}, "mode": "ChooseWorst", "candidates": [0, 1], "clicked": 0, "output_type": "note"}
BODY |= {"file": "data:text/plain;base64,YQ=="}


def test_whatever_could_write_is_refused_and_the_experiment_and_its_study_stay_as_they_are(
    folder: Path, search: Search, server: Server
) -> None:
    writing, some = routes(writing=True), [("DELETE", ""), ("POST", "/rename"), ("PUT", "/note")]
    assert {(method, f"api/studies/0{what}") for method, what in some} < set(writing)
    before, shown = digest(folder), server.get("api/studies/0")
    for method, path in [*writing, ("PATCH", "api/studies/0"), ("OPTIONS", "api/studies"), ("DELETE", "nothing")]:
        answer = server.session.request(method, server.url + path, json=BODY, timeout=10)
        assert answer.status_code == 403, (method, path)
        assert answer.json()["reason"].startswith("read-only: "), (method, path)
    for _, path in routes(writing=False):
        server.session.get(server.url + path, timeout=10)
    disguised = server.session.get(
        server.url + "api/studies/0?_method=DELETE", headers={"X-HTTP-Method-Override": "DELETE"}, timeout=10
    )
    assert disguised.json() == shown == server.get("api/studies/0")
    assert [study["study_name"] for study in server.get("api/studies")["study_summaries"]] == ["made"]
    assert digest(folder) == before


def test_it_listens_on_loopback_alone_and_serves_its_page(server: Server) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/"
    page = server.session.get(server.url, timeout=10)
    assert (page.url, page.status_code) == (f"{server.url}dashboard", 200)
    assert server.session.head(f"{server.url}static/bundle.js", timeout=10).status_code == 200
    with pytest.raises(OSError):  # whoever listens on all addresses answers here, too
        socket.create_connection(("127.0.0.2", server.port), timeout=1)


def test_a_signal_ends_it_and_it_has_said_nothing_but_its_url(tmp_path: Path) -> None:
    search_of(tmp_path, "made").close()
    for number in (signal.SIGINT, signal.SIGTERM):
        server = Server(tmp_path, "made")
        idle = socket.create_connection(("127.0.0.1", server.port))
        for path in ("api/studies", "api/studies/9", "api/studies/0?after=x", "nothing"):
            server.session.get(server.url + path, timeout=10)
        with socket.create_connection(("127.0.0.1", server.port)) as bare:
            bare.sendall(b"GET /favicon.ico HTTP/1.0\r\n\r\n")
            assert bare.recv(100).startswith(b"HTTP/1.0 200 OK")
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        idle.close()  # with a reset, as browsers do
        server.process.send_signal(number)
        assert server.end(10) == ("", ""), "after the URL"


def test_a_port_in_use_is_one_line(folder: Path, search: Search) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        arguments = ["dashboard", "made", "--port", str(port), "--experiments-dir", str(folder / "experiments")]
        done = CliRunner().invoke(main, arguments)
    assert error_of(done) == f"port {port}: Address already in use, allowed: another --port, 0 for any free one"


def test_without_the_extra_it_says_how_to_install_it(folder: Path, search: Search) -> None:
    program = "import sys; sys.modules['optuna_dashboard'] = None; from tune_app.cli import main; main()"
    done = tune_app(folder, "dashboard", "made", command=[sys.executable, "-c", program])
    assert error_of(done) == "optuna-dashboard is not installed: pip install 'tune_app[dashboard]'"


def test_it_shows_an_interrupted_a_finished_an_empty_and_an_altogether_failed_experiment(tmp_path: Path) -> None:
    of_every_kind(tmp_path, "interrupted").close()
    finished = search_of(tmp_path, "finished", metric="valid_loss")
    give(finished, ask_and_start(finished), *[0.5] * 9)
    finished.end("completed")
    empty = search_of(tmp_path, "empty")
    failed = search_of(tmp_path, "failed", max_failures=0)
    failed.failed(ask_and_start(failed), "Traceback:\nValueError: broken")
    failed.lost(failed.ask().number, "its worker died", "text")  # before it began
    failed.close()
    states = {}
    for name in ("interrupted", "finished", "empty", "failed"):
        application = Dashboard(paths(tmp_path / "experiments", name))
        for path in ("/api/studies/0", "/api/studies/0/param_importances"):
            assert asked(application, path)[0] == "200 OK", (name, path)
        study = asked(application, "/api/studies/0")[1]
        states[name] = (study["directions"], study["user_attrs"][0]["value"], [t["state"] for t in study["trials"]])
    assert states["interrupted"][1] == "interrupted"
    assert states["finished"] == (["minimize"], "running", ["Complete"])
    assert states["empty"] == (["maximize"], "running", [])
    assert states["failed"] == (["maximize"], "interrupted", ["Fail", "Fail"])
    empty.close()
    finished.close()
    application = Dashboard(paths(tmp_path / "experiments", "finished"))
    assert asked(application, "/api/studies/0")[1]["user_attrs"][0]["value"] == "finished"


def test_a_damaged_record_is_one_line_at_the_start_and_an_answer_later(tmp_path: Path) -> None:
    of_every_kind(tmp_path, "made").close()
    application = Dashboard(paths(tmp_path / "experiments", "made"))
    record = application.paths.record
    whole = record.read_bytes()
    record.write_bytes(whole.replace(b"asked", b"bsked", 1))
    message = f"{record}, line 3: the record is damaged: its checksum does not fit"
    done = CliRunner().invoke(main, ["dashboard", "made", "--experiments-dir", str(tmp_path / "experiments")])
    assert error_of(done) == message
    application.next_look = 0
    assert asked(application, "/api/studies/0") == ("503 Service Unavailable", {"reason": message})
    record.unlink()
    reason = f"{record}: cannot be read: No such file or directory"
    assert asked(application, "/api/studies/0") == ("503 Service Unavailable", {"reason": reason})
    record.write_bytes(whole)
    assert asked(application, "/api/studies/0")[0] == "200 OK"


def test_the_record_is_read_when_it_has_changed_and_not_too_often(tmp_path, monkeypatch) -> None:
    search = search_of(tmp_path, "made")
    now, read = [100.0], []

    def slowly(record: Path) -> Any:
        read.append(record)
        now[0] += 3  # seconds
        return load_experiment("made", tmp_path / "experiments").history

    monkeypatch.setattr(dashboard, "replay", slowly)
    monkeypatch.setattr("tune_app.output.dashboard.time.monotonic", lambda: now[0])
    application = Dashboard(search.paths)

    def reads(seconds: float) -> int:
        """How often it has been read when the next question comes so much later."""
        now[0] += seconds
        application.follow()
        return len(read)

    search.ask()
    assert (reads(29), reads(2)) == (1, 2)  # a pause ten times as long as reading took
    assert (reads(31), reads(31)) == (2, 2)  # nothing new
    search.ask()
    assert (reads(0.9), reads(0.2)) == (2, 3)
    search.close()  # which changes nothing in the file, but the state
    now[0] += 31
    assert asked(application, "/api/studies/0")[1]["user_attrs"][0]["value"] == "interrupted"
    assert len(read) == 4
