"""Whose code runs: going on with a task that was not run here before needs a word of consent."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bundles import run as invoke
from tests.made_up import rewrite
from tests.own_task import TASK, write
from tests.refused import error_of, refusal
from tune_app import api
from tune_app.bundle import verify
from tune_app.cluster.connect import Where
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.record import encode, read_entries
from tune_app.storage.load import load_experiment
from tune_app.task.declaration import read_task
from tune_app.task.recorded import how_changed, mark_as_run, was_run_here

HERE = Where(in_process=True)
REFUSED = (
    "x: runs the code of a task that you have not run here before: first read mine.py"
    " (tune-app status x --task); allowed: then --run-its-code"
)


@pytest.fixture
def searched(run, tmp_path) -> Experiment:
    """A search that the user has run, of a task that leaves a trace wherever it is executed."""
    write(tmp_path, ('"""Points', f'open("{tmp_path}/executed", "a").write(".")\n"""Points'))
    found = api.search("space.yaml", "x", where=HERE, quiet=True)
    assert found.history.best
    (tmp_path / "executed").unlink()
    return found


def forget(folder: Path) -> None:
    """As if another user had run it."""
    for mark in (folder / "cache" / "tune_app" / "tasks").iterdir():
        mark.unlink()


def test_a_search_leaves_a_mark_by_which_it_goes_on(run, searched, tmp_path):
    (mark,) = (tmp_path / "cache" / "tune_app" / "tasks").iterdir()
    task = searched.history.spec.task
    assert (mark.name, mark.name[:16], mark.read_bytes()) == (task.sha256, task.digest, b"")
    assert mark.parent.stat().st_mode & 0o777 == 0o700
    assert len(api.extend("x", {"num_samples": 3}, where=HERE, quiet=True).history.trials) == 3


@pytest.mark.parametrize(
    "command", [("resume", "x"), ("extend", "x", "--num-samples", 3), ("confirm", "x", "--top", 1, "--seeds", 1)]
)
def test_what_goes_on_with_another_users_task_needs_a_word(run, searched, tmp_path, command):
    forget(tmp_path)
    entries = list(read_entries(searched.paths.record))
    searched.paths.record.write_bytes(b"".join(map(encode, entries[: -1 if command[0] == "resume" else None])))
    assert error_of(run(*command, "--in-process")) == REFUSED
    assert not (tmp_path / "executed").exists()
    assert run(*command, "--in-process", "--run-its-code").exit_code == 0
    assert was_run_here(searched.history.spec.task), "who has agreed once is not asked again"


def test_a_changed_record_is_no_longer_what_the_user_has_run(searched):
    task = searched.history.spec.task
    changed = task.model_copy(update={"files": {"mine.py": task.files["mine.py"] + "\n"}})
    assert was_run_here(task)
    assert not was_run_here(changed)


def test_status_shows_the_files_with_all_that_a_terminal_would_hide(run, searched, tmp_path):
    shown = run("status", "x", "--task").stdout
    assert shown == f"# ---- mine.py\n{(tmp_path / 'mine.py').read_text()}\n"
    rewrite_task(searched, lambda task: task["files"].update({"mine.py": "# \x1b[2Khidden \u202e\n\tx = 1"}))
    assert run("status", "x", "--task").stdout == "# ---- mine.py\n# \\x1b[2Khidden \\u202e\n\tx = 1\n"
    assert json.loads(run("status", "x", "--task", "--json").stdout)["mine.py"].startswith("# \x1b")


def test_status_and_list_name_the_task_and_its_digest(run, searched):
    task = searched.history.spec.task
    assert f"task: mine {task.digest}" in run("status", "x").stdout.splitlines()
    assert f"mine {task.digest}" in run("list").stdout


def rewrite_task(searched: Experiment, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the task in a record."""
    rewrite(searched.paths.record, lambda entry: entry["n"] or change(entry["spec"]["task"]))


@pytest.mark.parametrize(
    "change",
    [
        lambda task: task["files"].update({"../mine.py": ""}),
        lambda task: task["files"].update({"/tmp/mine.py": ""}),
        lambda task: task["files"].update({"a/../../mine.py": ""}),
        lambda task: task["modules"].update(net="/tmp/mine"),  # a module without a text
    ],
)
def test_a_record_whose_task_would_be_written_elsewhere_is_damaged(run, searched, change):
    rewrite_task(searched, change)
    assert "line 1: the entry makes no sense" in refusal(load_experiment, "x")


def test_a_file_that_changed_meanwhile_is_named_and_the_recorded_text_used(run, searched, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(mine.read_text().replace("One hidden layer.", "One.").replace("def load", "\n\ndef load"))
    said = "mine.py has changed since the search began (3 lines added, 1 removed): the recorded text is used.\n"
    done = run("extend", "x", "--num-samples", 3, "--in-process")
    assert (done.exit_code, done.stderr.startswith(said)) == (0, True)
    assert load_experiment("x").history.spec.task == searched.history.spec.task
    assert run("confirm", "x", "--top", 1, "--seeds", 1, "--in-process").stderr.startswith(said)
    mine.unlink()
    assert "changed" not in run("extend", "x", "--num-samples", 4, "--in-process").stderr


def test_all_changed_files_of_a_folder_are_named(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "net.py").write_text(TASK)
    (folder / "more.py").write_text("a = 1\nb = 2\n")
    task = read_task(folder)
    assert how_changed(task, folder) is None
    (folder / "more.py").unlink()
    (folder / "net.py").write_text(f"{TASK}\n")
    assert how_changed(task, folder) == (
        "more.py, net.py have changed since the search began (1 line added, 2 removed): the recorded text is used."
    )
    assert how_changed(task, None) is None


@pytest.mark.parametrize("cache", ["file", "~nobody-of-this-name"])
def test_a_mark_that_cannot_be_written_stops_no_search(tmp_path, monkeypatch, cache):
    task = read_task(write(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    (tmp_path / "file").write_text("")
    mark_as_run(task)
    assert not was_run_here(task)


# ---- a task that leaves a trace wherever it is executed ------------------------------------------------

FILES = ("mine.py", "beside.py", "package/__init__.py", "package/inner.py")
IMPORTS = "import beside\nfrom package import inner\n"
READING = (
    "list",
    "status x",
    "status x --task",
    "status x --trial 0",
    "report x",
    "results x",
    "export x -o other",
    "levels mine.py",
    "levels space.yaml",
    "levels best/task/mine.py",
    "validate space.yaml",
    "validate space.yaml --schema",
    "search own/space.yaml --name y --enqueue x:2 --enqueue best/config.yaml --in-process",
    "remove x",
)
RUNNING = (  # resume, extend and confirm: above
    ("train x --trial 0", "x", "(tune-app status x --task)"),
    ("train best/config.yaml", "best/config.yaml", "best/task/mine.py"),
    ("predict best one.txt", "best", "best/task/mine.py"),
    ("verify best", "best", "best/task"),
)
READ_INPUT = """

def read_input(path):
    return np.loadtxt(path, dtype="float32", ndmin=2)
"""


def traces(folder: Path) -> list[str]:
    """The files that were executed since this was asked last."""
    found = sorted((folder / "traces").iterdir())
    for trace in found:
        trace.unlink()
    return [trace.name.replace("-", "/") for trace in found]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the task, an experiment x of it and its bundle, best."""
    folder, threads = tmp_path_factory.mktemp("planted"), torch.get_num_threads()
    write(folder)
    for name in ("package", "traces", "own"):
        (folder / name).mkdir()
    for name in FILES:
        plant = f"open({str(folder / 'traces' / name.replace('/', '-'))!r}, 'w').close()\n"
        (folder / name).write_text(plant + (IMPORTS + TASK + READ_INPUT if name == "mine.py" else ""))
    (folder / "one.txt").write_text("1 2 3 4")
    write(folder / "own")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache-of-its-owner"))
        assert invoke("search", "space.yaml", "--name", "x", "--in-process").exit_code == 0
        assert traces(folder) == sorted(FILES)
        assert invoke("export", "x", "-o", "best").exit_code == 0
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def copied(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for another user, who has run nothing yet; the working directory."""
    shutil.copytree(planted, tmp_path / "copied")
    monkeypatch.chdir(tmp_path / "copied")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "copied"


def test_reading_executes_nothing(planted: Path, copied: Path) -> None:
    for command in READING:
        done = invoke(*command.split())
        assert done.exit_code == 0, (command, done.output)
        assert traces(planted) == [], command
    assert list((copied / "experiments").glob("x")) == []
    assert not was_run_here(read_task(Path("mine.py")))


@pytest.mark.parametrize(("command", "name", "to_read"), RUNNING, ids=[one[0] for one in RUNNING])
def test_what_runs_its_code_asks_first(planted, copied, monkeypatch, command, name, to_read) -> None:
    done = invoke(*command.split())
    assert (done.exit_code, done.stdout, traces(planted)) == (1, "", [])
    start, end = done.stderr.split(" that you have not run here before: first read ")
    assert start == f"Error: {name}: runs the code of a task"
    assert end.endswith(f"{to_read}; allowed: then --run-its-code\n")
    assert end.count("\n") == 1
    if not command.startswith("verify"):
        assert invoke(*command.split(), "--run-its-code").exit_code == 0
        assert traces(planted) == sorted(FILES)
        assert was_run_here(read_task(Path("mine.py")))
    else:
        monkeypatch.setattr(verify, "printed", lambda *_: iter(()))  # its script is started
        assert "0 results came out" in invoke(*command.split(), "--run-its-code").stderr
