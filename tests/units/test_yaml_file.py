import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.refused import refusal
from tune_app.bundle.retrain import read_exported
from tune_app.enqueue import read_config
from tune_app.experiment.space import load_space
from tune_app.task.tutorial import tutorial
from tune_app.yaml_file import as_yaml, read_yaml


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "1.0e-3", "+1e-3", "0.001", "1.0e-03"])
def test_a_small_number_is_a_number_however_it_is_written(tmp_path: Path, text: str) -> None:
    assert read_yaml(written(tmp_path, f"lr: {text}")) == {"lr": 0.001}


OTHERS = "032 010 -007 007.5 012e1 +010 00 09 0o17 0O17 0b11 0x10 -0X1f 1_000 1_000.5 1e1_0 1:30 1:30.5 1e400"


@pytest.mark.parametrize("text", [*OTHERS.split(), "!!int 032", "!!float 1:30"])
def test_a_number_that_others_read_as_another_one_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"# sizes\nbs: [1,\n  {text}]\n")
    assert refusal(read_yaml, path) == (
        f"{path}, line 3: is {text.rsplit(maxsplit=1)[-1]},"
        " allowed: a number such as 32, 0.5 or 1e-3 (no leading 0, _ or :), a time such as 90s, a text in quotes"
    )


NUMBERS = {"0": 0, "-0": 0, "+5": 5, "1.": 1.0, ".5": 0.5, "-.5e1": -5.0, "1e3": 1000.0, "-.Inf": -math.inf}
TEXT = ["2026-11-26", "2026-11-26 10:00:00", "1.2.3", "0xyz", "10.0.0.1:80"]
OTHER = {"-": [None], "true": True, "off": False, "~": None}


@pytest.mark.parametrize(("text", "value"), [*NUMBERS.items(), *zip(TEXT, TEXT, strict=True), *OTHER.items()])
def test_other_values_are_what_they_look_like(tmp_path: Path, text: str, value: object) -> None:
    found = read_yaml(written(tmp_path, f"a:\n  {text}\n"))["a"]
    assert (found, type(found)) == (value, type(value))


def read_space(path: Path) -> object:
    return load_space(str(path))


def read_enqueued(path: Path) -> object:
    return read_config(path, tutorial())


@pytest.mark.parametrize("read", [read_space, read_exported, read_enqueued])
@pytest.mark.parametrize("text", ["032", "0x20", "1:30"])
def test_every_file_that_a_person_writes_is_read_so(tmp_path, read, text) -> None:
    path = written(tmp_path, f"space: {{level: cnn, bs: {text}}}\nconfig: {{level: cnn, bs: {text}}}\n")
    assert refusal(read, path).startswith(f"{path}, line 1: is {text}, allowed: ")


TEXTS = st.one_of(
    st.text(),
    st.from_regex(r"[-+]?[.0-9_:xobeE]{1,6}", fullmatch=True),
    st.sampled_from(["no", "on", "2026-11-26", "~", "=", "<<", "*a", "&a", "1e5", "0o17", "010", "1_000", ".nan"]),
)
VALUES = st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())


@settings(max_examples=50)
@given(content=st.dictionaries(TEXTS, st.one_of(VALUES, st.lists(VALUES)), min_size=1))
def test_what_is_written_is_read_as_the_same_values(tmp_path: Path, content: dict[str, object]) -> None:
    found = read_yaml(written(tmp_path, as_yaml(content)))
    assert repr(found) == repr(content)


def test_a_list_that_occurs_twice_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    levels = ["linear", "cnn"]
    content = {"level": {"choice": levels}, "when": {"level": levels}}
    assert read_yaml(written(tmp_path, as_yaml(content))) == content


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: not valid YAML: key 'a' occurs twice"),
        ("a: &x [1]\nb: *x", "line 2: not valid YAML: aliases (*name) are not allowed"),
        ("a: [1", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: 0x" + "9" * 5000, "line 1: not valid YAML: a number of 5002 digits"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b"a: \x00", "not valid YAML"),
        ("[" * 2_000, "nested too deeply"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str | bytes, problem: str) -> None:
    path = written(tmp_path, text)
    line = refusal(read_yaml, path)
    assert line.startswith(str(path))
    assert problem in line


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000_000)  # sparse: reading it would take minutes
    assert "larger than 1 MB" in refusal(read_yaml, path)
