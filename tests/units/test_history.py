from pathlib import Path
from typing import Any

import pytest

from tests.made_up import ask_and_start, give, searching, spec_of
from tests.refused import refusal
from tune_app.engine.search import Search
from tune_app.experiment.history import replay
from tune_app.experiment.record import FORMAT, RecordWriter
from tune_app.storage.load import experiment_names, load_experiment
from tune_app.storage.location import paths


def created() -> dict[str, Any]:
    return {"kind": "created", "format": FORMAT, "time": 1.0, "spec": spec_of("x").model_dump()}


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    """A record of these."""
    writer = RecordWriter.create(folder / "x" / "record.jsonl")
    for entry in entries:
        writer.append(entry)
    writer.close()
    return writer.path


ASKED = {"kind": "asked", "trial": 0, "config": {"level": "cnn"}, "seed": 1}


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ([{"kind": "created", "format": FORMAT, "time": 1.0, "spec": {}}], 1),
        ([{"kind": "created", "format": FORMAT}], 1),
        ([created(), {"kind": "started", "trial": 0}], 2),
        ([created(), {"kind": "asked"}], 2),
        ([created(), ASKED, {"kind": "result"}], 3),
        ([created(), ASKED, {"kind": "ended", "trial": "x"}], 3),
    ],
)
def test_an_entry_that_makes_no_sense_is_named_though_its_checksum_fits(tmp_path, entries, line) -> None:
    path = write(tmp_path, *entries)
    assert refusal(replay, path).startswith(f"{path}, line {line}: the entry makes no sense: ")


def test_an_unknown_kind_of_entry_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, created(), {"kind": "rumour"})
    assert "entry 1 of the record is of unknown kind 'rumour'" in refusal(replay, path)


def test_a_renamed_experiment_goes_by_its_new_name(tmp_path: Path) -> None:
    with searching(tmp_path, "old") as search:
        give(search, ask_and_start(search), 0.5)
    (tmp_path / "old").rename(tmp_path / "new")
    experiment = load_experiment("new", tmp_path)
    assert experiment.name == "new"
    assert len(experiment.history.trials) == 1


def test_without_a_name_the_newest_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for at, name in ((100.0, "second"), (50.0, "first"), (200.0, "third")):
        monkeypatch.setattr("time.time", lambda at=at: at)
        Search.create(spec_of(name), paths(tmp_path, name)).close()
    assert experiment_names(tmp_path) == ["third", "second", "first"]
    assert load_experiment(None, tmp_path).name == "third"
