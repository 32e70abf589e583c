import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.made_up import ask_and_start, give, searching, spec_of
from tests.refused import refusal
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.history import replay
from tune_app.experiment.record import FORMAT, RecordWriter, decode, encode, read_entries
from tune_app.storage.load import experiment_names, load_experiment
from tune_app.storage.location import paths

FIRST = {"kind": "created", "format": FORMAT, "time": 1.5}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record of three entries."""
    path = tmp_path / "experiment" / "record.jsonl"
    writer = RecordWriter.create(path)
    for entry in (FIRST, {"kind": "a", "value": 0.1 + 0.2}, {"kind": "b", "text": 'ü "\n'}):
        writer.append(entry)
    writer.close()
    return path


def test_a_line_is_json_and_ends_with_the_crc_of_the_rest(record: Path) -> None:
    line = record.read_bytes().splitlines()[1]
    crc = json.loads(line)["crc"]
    rest = line[: -len(f',"crc":"{crc}"}}')] + b"}"
    assert crc == f"{zlib.crc32(rest):08x}"


def test_a_torn_last_line_is_passed_over_at_every_byte(record: Path, tmp_path: Path) -> None:
    content = record.read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    torn = tmp_path / "torn.jsonl"
    for end in range(start, len(content)):
        torn.write_bytes(content[:end])
        assert [entry["n"] for entry in read_entries(torn)] == [0, 1]


def test_every_flipped_bit_is_noticed_and_its_line_named(record: Path, tmp_path: Path) -> None:
    content = record.read_bytes()
    flipped = tmp_path / "flipped.jsonl"
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        flipped.write_bytes(damaged)
        if position == len(content) - 1:  # without its end, the last line counts as torn
            assert len(list(read_entries(flipped))) == 2
            continue
        with pytest.raises(TuneAppError, match=rf"^{flipped}.*(line \d|format)"):
            list(read_entries(flipped))


def test_a_missing_line_is_noticed(record: Path) -> None:
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(lines[0] + lines[2])
    assert "line 2: the record is damaged: it is entry 2, not 1" in refusal(list, read_entries(record))


@pytest.mark.parametrize("other", [FORMAT - 1, FORMAT + 1])
def test_the_format_of_another_version_is_refused(tmp_path: Path, other: int) -> None:
    path = tmp_path / "record.jsonl"
    first = {"n": 0, "kind": "created", "format": other}
    for spec, version in ({}, "another tune_app"), ({"versions": {"tune_app": "0.4.0"}}, "tune_app 0.4.0"):
        path.write_bytes(encode({**first, "spec": spec}))
        said = f"format {other}, allowed: {FORMAT}; {version} reads it"
        assert refusal(list, read_entries(path)) == f"{path}: {said}"


def test_an_experiment_that_exists_is_not_written_over(record: Path) -> None:
    before = record.read_bytes()
    assert "exists already" in refusal(RecordWriter.create, record)
    assert record.read_bytes() == before


def test_a_full_disk_is_said_with_the_path(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record.parent.parent / "other" / "record.jsonl"
    writer = RecordWriter.create(path)
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(writer, "descriptor", full)
    assert refusal(writer.append, FIRST) == f"{path}: cannot be written: No space left on device"
    os.close(full)


def test_numbers_that_are_no_json_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"loss": float("nan")})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(entry=st.dictionaries(st.text().filter(lambda key: key != "crc"), json_values, min_size=1, max_size=5))
def test_any_entry_comes_back_as_it_was(entry: dict[str, object]) -> None:
    line = encode(entry)
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == entry


def created() -> dict[str, Any]:
    return {"kind": "created", "format": FORMAT, "time": 1.0, "spec": spec_of("x").model_dump()}


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    """A record of these."""
    writer = RecordWriter.create(folder / "x" / "record.jsonl")
    for entry in entries:
        writer.append(entry)
    writer.close()
    return writer.path


STARTED = {"kind": "search", "event": "started", "time": 1.0}
ASKED = {"kind": "asked", "trial": 0, "config": {"level": "cnn"}, "seed": 1}


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ([{"kind": "created", "format": FORMAT, "time": 1.0, "spec": {}}], 1),
        ([{"kind": "created", "format": FORMAT}], 1),
        ([created(), {**STARTED, "versions": 5}], 2),
        ([created(), {**STARTED, "versions": {"torch": 2}}], 2),
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
