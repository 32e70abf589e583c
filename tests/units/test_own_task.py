"""What commands say of a task of one's own that they only read."""

import json
import shutil

import pytest

from tests.own_task import write
from tests.refused import error_of
from tune_app.task.loop.data import whole_path

EXECUTED = ('"""Points', 'raise SystemExit("executed")\n"""Points')


def test_levels_lists_what_a_file_declares(run, tmp_path):
    write(tmp_path, EXECUTED)
    assert run("levels", "mine.py").output == (
        " 1 line            No hidden layer.   lr 0.1, bs 20\n"
        " 2 net             One hidden layer.  lr 0.01, bs 20, hidden 8, dropout 0.2\n"
        "baseline: line\n"
        "hyperparameters:\n"
        "   lr              a number, greater than 0\n"
        "   bs              an integer, 1 or more\n"
        "   hidden          an integer, 1 or more (neurons)\n"
        "   dropout         a number, 0 or more, below 1\n"
        "metrics:\n"
        "   valid_accuracy  more is better\n"
        "   valid_loss      less is better\n"
    )


def test_levels_of_a_space_a_folder_and_a_file_are_the_same(run, tmp_path):
    file = write(tmp_path)
    (tmp_path / "quick").mkdir()  # the shipped space has the name
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.py").write_text(file.read_text())
    found = {name: json.loads(run("levels", name, "--json").stdout) for name in ("mine.py", "space.yaml", "folder")}
    assert found["mine.py"] == found["space.yaml"]
    assert found["folder"]["levels"] == found["mine.py"]["levels"]
    assert found["mine.py"]["task"]["name"] == "mine"
    hidden = {"name": "hidden", "kind": "int", "interval": {"ge": 1}, "options": [], "meaning": "neurons"}
    assert found["mine.py"]["hyperparameters"][2] == {**hidden, "allowed": "an integer, 1 or more"}
    assert [metric["mode"] for metric in found["mine.py"]["metrics"]] == ["max", "min"]
    assert run("levels", "quick").stdout == run("levels").stdout


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("nine.py", "nine.py: no such file or folder, allowed: a Python file (.py), or a folder with Python files"),
        ("of_bad.yaml", "bad.py, line 1: '(' was never closed, allowed: what Python"),
        ("of_none.yaml", "of_none.yaml: task none.py: no such file or folder, allowed: a Python file"),
    ],
)
def test_a_mistake_is_one_line(run, tmp_path, file, said):
    (tmp_path / "bad.py").write_text("x = (")
    for name in ("bad", "none"):
        (tmp_path / f"of_{name}.yaml").write_text(f"task: {name}.py\nspace: {{lr: 1}}\nsearch: {{}}")
    assert error_of(run("levels", file)).startswith(said)


def test_validate_executes_nothing_and_knows_the_task(run, tmp_path):
    write(tmp_path, EXECUTED)
    shown = run("validate", "space.yaml").output
    assert "space: 2 trials of up to 2 epochs\n  level         net\n  lr            loguniform" in shown
    assert run("validate", "space.yaml", "--json").exit_code == 0
    schema = json.loads(run("validate", "space.yaml", "--schema").stdout)
    assert schema["properties"]["space"]["propertyNames"]["enum"] == ["level", "lr", "bs", "hidden", "dropout"]
    assert schema["$defs"]["Settings"]["properties"]["metric"]["enum"] == [None, "valid_accuracy", "valid_loss"]


def test_validate_needs_no_batch_size(run, tmp_path):
    write(tmp_path, ("bs: int = 20", "size: int = 20"), ('["valid"]), bs)', '["valid"]), size)'))
    (tmp_path / "space.yaml").write_text("task: mine.py\nspace: {level: net, hidden: {choice: [4, 8]}}\nsearch: {}")
    assert run("validate", "space.yaml").exit_code == 0
    assert "size" in run("levels", "space.yaml").stdout


READS = (
    "    x = np.random",
    "    print((Path(source) if source else Path(__file__).parent) / 'what')\n    x = np.random",
)
IMPORTS = ("import numpy as np", "from pathlib import Path\n\nimport numpy as np")


def test_what_lies_beside_a_file_and_what_data_names_is_found_by_whatever_loads(run, tmp_path, monkeypatch):
    """By search, check, and train of the file and of a trial; of a file or folder load gets the whole path."""
    write(tmp_path, READS, IMPORTS)
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    commands: list[tuple[object, ...]] = [
        ("search", "space.yaml", "--name", "x", "--in-process"),
        ("check", "mine.py", "line"),
        ("train", "mine.py", "line", "--epochs", 1),
        ("train", "x", "--trial", 0),
        ("extend", "x", "--num-samples", 3, "--in-process"),
    ]
    for command in commands:
        assert f"{tmp_path}/what\n" in run(*command).output, command
    shutil.rmtree(tmp_path / "experiments")
    commands[0] = (*commands[0], "--data", "data")
    commands[1:3] = [(*command, "--data", "data") for command in commands[1:3]]
    for command in commands:
        assert f"{tmp_path}/data/what\n" in run(*command).output, command
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = run("train", "x", "--trial", 0, "--data", "../data", "--experiments-dir", "../experiments")
    assert f"{tmp_path}/data/what\n" in done.output


def test_what_is_no_file_or_folder_is_what_load_gets(tmp_path):
    assert whole_path("small") == "small"
    url = f"https://localhost/{'x' * 300}"  # too long for a file name
    assert whole_path(url) == url
