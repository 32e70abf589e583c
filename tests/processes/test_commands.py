"""Commands as processes of their own: their streams, their directory, and others beside them."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.made_up import ask_and_start, give, searching
from tests.refused import error_of, refusal
from tune_app.storage.location import paths
from tune_app.storage.mirror import Contents, Holder, refuse_existing_copy, write_contents

AT_ONCE = 4
PROGRAM = """
import sys; from pathlib import Path; from tune_app import api
api.name_now = lambda space: "same"
print("ready", flush=True); sys.stdin.readline()
with api.newly_named(Path(sys.argv[1]), "quick") as at:
    print(at.root.name, flush=True); sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an experiment called made that has a result and an error."""
    monkeypatch.chdir(tmp_path)
    with searching(tmp_path / "experiments", "made", metric="valid_accuracy") as search:
        give(search, ask_and_start(search), *[0.9] * 9)
        search.failed(ask_and_start(search), "Traceback (most recent call last):\nValueError: größe ≤ \udcff")
    return tmp_path


@pytest.mark.parametrize(("command", "code"), [("status made 2>&-", 0), ("status nope <&- >&- 2>&-", 1)])
def test_a_command_without_its_streams_does_its_work(folder, command, code) -> None:
    line = ["bash", "-c", f"{sys.executable} -m tune_app {command}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, bool(done.stdout), done.stderr) == (code, code == 0, "")


def test_the_descriptors_of_closed_streams_are_no_files_that_are_opened_later_here_and_in_children(tmp_path):
    program = (
        "import os, subprocess; from tune_app.cli import prepare_streams; prepare_streams();"
        "print(*(os.path.realpath(f'/proc/self/fd/{n}') for n in range(3)), file=open('opened', 'w'));"
        "subprocess.run(['sh', '-c', 'readlink /proc/self/fd/0 /proc/self/fd/2 > child'])"
    )
    subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" <&- >&- 2>&-'], cwd=tmp_path, check=True, timeout=60
    )
    assert (tmp_path / "opened").read_text().split() == ["/dev/null"] * 3
    assert (tmp_path / "child").read_text().split() == ["/dev/null"] * 2


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_what_an_encoding_lacks_is_shown_as_an_escape(folder: Path, encoding: str) -> None:
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "tune_app", "status", "made", "--trial", "1"]
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "größe ≤ \udcff".encode(encoding, "backslashreplace") in done.stdout


def test_a_file_that_is_open_for_the_output_is_not_replaced(folder: Path) -> None:
    Path("log").write_text("before\n")
    with Path("log").open("ab") as log:
        command = [sys.executable, "-m", "tune_app", "report", "made", "-o", "/dev/stdout"]
        done = subprocess.run(command, stdout=log, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr.startswith("Error: /dev/stdout: is no file that can be replaced")
    assert Path("log").read_text() == "before\n"


@pytest.mark.parametrize("given", ["experiments", "/tmp/experiments-of-nobody"])
def test_a_current_directory_that_is_gone_is_one_line(tmp_path: Path, given: str) -> None:
    command = [sys.executable, "-m", "tune_app", "search", "quick", "--experiments-dir", given]
    gone = tmp_path / "gone"
    gone.mkdir()
    script = ["sh", "-c", f'rmdir "{gone}" && exec "$@"', "sh", *command]
    done = subprocess.run(script, cwd=gone, capture_output=True, text=True, check=False)
    assert error_of(done) == "the current directory is gone, allowed: another one (cd)"
    assert not Path(given).exists()


def test_processes_that_begin_at_the_same_moment_have_names_of_their_own(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "deep" / "experiments")]
    with ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(AT_ONCE)
        ]
        for word in ("ready", None):
            said = [process.stdout.readline().strip() for process in processes if process.stdout]
            assert word is None or said == [word] * AT_ONCE
            for process in processes if word else ():
                assert process.stdin
                process.stdin.write("\n")
                process.stdin.flush()
    assert sorted(said) == sorted(["same", *(f"same-{n}" for n in range(2, AT_ONCE + 1))])
    assert list(tmp_path.rglob("same*")) == []


def test_a_name_that_is_searched_from_a_bucket_is_not_advised_to_be_removed(tmp_path, bucket, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    at = paths(bucket, "x")
    running, ended = " and is being searched right now", ", allowed: another --name, or tune-app remove x"
    for holder, ending in (Holder.this(), f"{running}, allowed: another --name"), (None, ended):
        write_contents(bucket / "x", Contents(created=1.0, holder=holder))
        assert refusal(refuse_existing_copy, at) == f"{bucket}/x: exists already{ending}"
