"""A task that leaves a trace wherever it is executed: what reads it leaves none, and what runs it asks first."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.bundles import run
from tests.own_task import TASK, write
from tune_app.bundle import verify
from tune_app.task.declaration import read_task
from tune_app.task.recorded import was_run_here

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
RUNNING = (  # resume, extend and confirm: test_trust.py
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
        assert run("search", "space.yaml", "--name", "x", "--in-process").exit_code == 0
        assert traces(folder) == sorted(FILES)
        assert run("export", "x", "-o", "best").exit_code == 0
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
        done = run(*command.split())
        assert done.exit_code == 0, (command, done.output)
        assert traces(planted) == [], command
    assert list((copied / "experiments").glob("x")) == []
    assert not was_run_here(read_task(Path("mine.py")))


@pytest.mark.parametrize(("command", "name", "to_read"), RUNNING, ids=[one[0] for one in RUNNING])
def test_what_runs_its_code_asks_first(planted, copied, monkeypatch, command, name, to_read) -> None:
    done = run(*command.split())
    assert (done.exit_code, done.stdout, traces(planted)) == (1, "", [])
    start, end = done.stderr.split(" that you have not run here before: first read ")
    assert start == f"Error: {name}: runs the code of a task"
    assert end.endswith(f"{to_read}; allowed: then --run-its-code\n")
    assert end.count("\n") == 1
    if not command.startswith("verify"):
        assert run(*command.split(), "--run-its-code").exit_code == 0
        assert traces(planted) == sorted(FILES)
        assert was_run_here(read_task(Path("mine.py")))
    else:
        monkeypatch.setattr(verify, "printed", lambda *_: iter(()))  # its script is started
        assert "0 results came out" in run(*command.split(), "--run-its-code").stderr
