"""A name that nobody chose is free, and one that somebody searches is not to be removed."""

from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.made_up import ask_and_start, give, spec_of
from tests.refused import error_of
from tune_app import api
from tune_app.api import newly_named
from tune_app.cli import main
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.record import refuse_existing
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import experiment_names
from tune_app.storage.location import paths


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
