import json
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.refused import refusal
from tune_app.errors import TuneAppError
from tune_app.experiment.record import FORMAT, RecordWriter, decode, encode, read_entries

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
