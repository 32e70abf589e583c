"""A name that nobody chose is free, and one that somebody searches is not to be removed."""

import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.made_up import ask_and_start, give, spec_of
from tests.refused import error_of, refusal
from tune_app import api
from tune_app.api import newly_named
from tune_app.cli import main
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.record import refuse_existing
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import experiment_names
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
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still."""
    monkeypatch.setattr(api, "name_now", lambda space: f"{space}-20261126-101500")


@pytest.mark.usefixtures("one_second")
def test_names_of_one_second_are_numbered_and_what_is_there_is_passed_over(tmp_path: Path) -> None:
    there = tmp_path / "quick-20261126-101500-2"
    there.write_text("a file")
    with ExitStack() as searches:
        names = [searches.enter_context(newly_named(tmp_path, "quick")).root.name for _ in range(3)]
    assert names == ["quick-20261126-101500", "quick-20261126-101500-3", "quick-20261126-101500-4"]
    assert list(tmp_path.iterdir()) == [there]


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


@pytest.mark.usefixtures("one_second")
def test_a_kept_name_is_no_experiment_and_stays_where_a_search_began(tmp_path: Path) -> None:
    with newly_named(tmp_path / "experiments", "quick") as at:
        assert experiment_names(tmp_path / "experiments") == []
        refuse_existing(at.root)
        Search.create(spec_of(at.root.name), at).close()
    assert experiment_names(tmp_path / "experiments") == [at.root.name]
    with suppress(RuntimeError), newly_named(tmp_path / "experiments", "quick") as another:
        assert another.root.name == "quick-20261126-101500-2"
        raise RuntimeError("no data")
    assert [path.name for path in (tmp_path / "experiments").iterdir()] == [at.root.name]


@pytest.mark.usefixtures("one_second")
def test_in_a_bucket_no_two_machines_take_the_same_name() -> None:
    place = Bucket.at("s3://test/searches")
    names = set()
    for _ in range(3):
        with newly_named(place, "quick") as at:
            assert at.copy == place / at.root.name
            assert at.root.name.startswith("quick-20261126-101500-")
            names.add(at.root.name)
    assert len(names) == 3


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere/at/all")
    for folder in (tmp_path / "file" / "x", tmp_path / "file", tmp_path / "link"):
        with pytest.raises(TuneAppError, match="cannot be created: "), newly_named(folder, "quick"):
            pass


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """An experiment called x that is being searched, in the working directory."""
    monkeypatch.chdir(tmp_path)
    search = Search.create(spec_of("x"), paths(Path("experiments"), "x"))
    search.begin()
    give(search, ask_and_start(search), 0.5)
    return search


@pytest.mark.parametrize("doing", ["searched", "confirmed"])
def test_a_name_that_is_at_work_is_not_advised_to_be_removed(held: Search, doing: str) -> None:
    if doing == "confirmed":
        held.close()
        held = Search.create(spec_of("confirmation-1"), held.paths.confirmation(1))
    search = ["search", "quick", "--name", "x"]
    refused = f"experiments/x: exists already and is being {doing} right now, allowed: another --name"
    assert error_of(CliRunner().invoke(main, search)) == refused
    held.close()
    refused = "experiments/x: exists already, allowed: another --name, or tune-app remove x"
    assert error_of(CliRunner().invoke(main, search)) == refused


def test_a_name_that_is_searched_from_a_bucket_is_not_advised_to_be_removed(tmp_path, bucket, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    at = paths(bucket, "x")
    running, ended = " and is being searched right now", ", allowed: another --name, or tune-app remove x"
    for holder, ending in (Holder.this(), f"{running}, allowed: another --name"), (None, ended):
        write_contents(bucket / "x", Contents(created=1.0, holder=holder))
        assert refusal(refuse_existing_copy, at) == f"{bucket}/x: exists already{ending}"
