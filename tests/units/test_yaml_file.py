from pathlib import Path

import pytest

from tune_app.errors import TuneAppError
from tune_app.yaml_file import read_yaml


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "1.0e-3", "+1e-3", "0.001", "1.0e-03"])
def test_a_small_number_is_a_number_however_it_is_written(tmp_path: Path, text: str) -> None:
    assert read_yaml(written(tmp_path, f"lr: {text}")) == {"lr": 0.001}


def test_a_quoted_number_stays_a_string(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "lr: '1e-3'")) == {"lr": "1e-3"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: not valid YAML: key 'a' occurs twice"),
        ("a: {b: 1, b: 2}", "line 1: not valid YAML: key 'b' occurs twice"),
        ("a: &x [1]\nb: *x", "line 2: not valid YAML: aliases (*name) are not allowed"),
        ("a: [1", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("{[1]: 2}", "not valid YAML"),
        ("a: 0x" + "9" * 5000, "line 1: not valid YAML: a number of 5002 digits"),
        ("2020-13-45", "not valid YAML"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b"a: \x00", "not valid YAML"),
        ("[" * 20_000, "nested too deeply"),
        ("#" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str | bytes, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TuneAppError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000_000)  # sparse: reading it would take minutes
    with pytest.raises(TuneAppError, match="larger than 1 MB"):
        read_yaml(path)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(TuneAppError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
