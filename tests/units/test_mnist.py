import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import refused
from tune_app.errors import TuneAppError
from tune_app.task.images import mnist, parquet, sources
from tune_app.task.images.mnist import ALLOWED, IMAGE, Mnist, Split
from tune_app.task.images.sources import SHIPPED, load, load_test

# From the design, not from the package.
DIGESTS = {
    "train": (
        "c80ceb24eedca80f31cfca280b8fb911cbb41b9990f998bebd40e26b1ab6d0f8",
        "3fc61c21900fc0b58d42fdaf93c02687003667ff54f671496c1d367a95cae2ba",
    ),
    "valid": (
        "2b079632b0defaf508a5ebf8c4ac1e18ce15c8b337da087e9c3e1c84c618d244",
        "bfddcd2fec1923668512623a71a47033ec687581bc04ac5708c8857aa0193630",
    ),
    "test": (
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "2fd8de6bdb8d11780b4b96dc57847bcfe6953f7c32aa48bfcd8237c3b7847243",
    ),
}


@cache
def shipped() -> Mnist:
    """The whole of MNIST, loaded once for all tests that need it."""
    return load()


def refusal(source: Path | str) -> str:
    """The one line with which `source` is refused; it names `source`."""
    line = refused.refusal(load, str(source))
    assert str(source) in line
    return line


def write(path: Path, n: int = 12, row_group_size: int | None = None, **columns: Any) -> Path:
    """A Parquet file of n rows, the last two of them valid; `columns` replace the good ones."""
    good: dict[str, object] = {
        "split": ["train"] * (n - 2) + ["valid"] * 2,
        "image": pa.array([bytes([i]) * IMAGE for i in range(n)], pa.binary(IMAGE)),
        "label": pa.array([i % 10 for i in range(n)], pa.uint8()),
    }
    table = pa.table({name: column for name, column in (good | columns).items() if column is not None})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


# ---- the copy in the package ---------------------------------------------------------------------------


def test_the_shipped_images_and_labels_are_mnist_to_the_bit():
    test = load_test()
    assert test is not None
    for name, split in (("train", shipped().train), ("valid", shipped().valid), ("test", test)):
        images = hashlib.sha256(split.x.tobytes()).hexdigest()
        labels = hashlib.sha256(split.y.astype("<i8").tobytes()).hexdigest()
        assert (images, labels) == DIGESTS[name] == split.digests


def test_the_digest_depends_on_both_splits_images_and_labels():
    x, y = np.zeros((2, IMAGE), np.uint8), np.array([1, 2])
    splits = [Split(x, y), Split(x + 1, y), Split(x, y + 1)]
    digests = {Mnist(train, valid).digest() for train in splits for valid in splits}
    assert len(digests) == 9


def test_other_images_or_labels_than_mnists_are_refused_as_the_shipped_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SHIPPED", write(tmp_path / "other.parquet"))
    for read in (load, load_test):
        assert refused.refusal(read).startswith(f"{sources.SHIPPED}: is not MNIST to the bit, allowed: ")


# ---- the test images are left alone --------------------------------------------------------------------


def test_no_row_group_of_test_images_of_the_shipped_file_is_read(tmp_path):
    content, groups = bytearray(SHIPPED.read_bytes()), pq.read_metadata(SHIPPED)
    for group in map(groups.row_group, range(groups.num_row_groups)):
        columns = [group.column(i) for i in range(group.num_columns)]
        if any(column.statistics and column.statistics.max == "test" for column in columns):
            for column in columns:
                content[column.data_page_offset : column.data_page_offset + 1000] = bytes(1000)
    path = tmp_path / "spoiled.parquet"
    path.write_bytes(content)
    assert load(str(path)).digest() == mnist.ORIGINAL
    assert "not a Parquet file with columns" in refused.refusal(load_test, str(path))


def test_test_images_among_others_in_a_row_group_are_left_out(tmp_path: Path):
    splits = ["test", "train", "test", "valid", "train", "other"] * 2
    found = load(str(write(tmp_path / "mixed.parquet", split=splits)))
    assert found.train.x[:, 0].tolist() == [1, 4, 7, 10]
    assert found.valid.x[:, 0].tolist() == [3, 9]


# ---- other Parquet files -------------------------------------------------------------------------------


def test_a_parquet_file_is_loaded_in_its_order_and_read_only(tmp_path: Path):
    found = load(str(write(tmp_path / "own.parquet", row_group_size=5)))
    assert found.train.x[:, 0].tolist() == list(range(10))
    assert found.train.y.tolist() == list(range(10))
    assert (found.valid.x[:, 783].tolist(), found.valid.y.tolist()) == ([10, 11], [0, 1])
    arrays = (found.train.x, found.train.y, found.valid.x, found.valid.y)
    assert not any(array.flags.writeable for array in arrays)
    assert {array.dtype.name for array in arrays} == {"uint8", "int64"}


def test_columns_of_similar_types_are_understood(tmp_path: Path):
    expected = load(str(write(tmp_path / "plain.parquet")))
    similar = write(
        tmp_path / "similar.parquet",
        split=pa.array(["train"] * 10 + ["valid"] * 2).dictionary_encode(),
        image=pa.array([bytes([i]) * IMAGE for i in range(12)], pa.binary()),
        label=pa.array([float(i % 10) for i in range(12)]),
    )
    assert load(str(similar)).digest() == expected.digest()


def test_the_test_images_of_a_file_are_those_of_its_split_test(tmp_path: Path):
    path = write(tmp_path / "d.parquet", row_group_size=5, split=["train"] * 8 + ["valid"] * 2 + ["test"] * 2)
    found = load_test(str(path))
    assert found is not None
    assert found.x[:, 0].tolist() == [10, 11]
    assert load_test(str(write(tmp_path / "none.parquet"))) is None


KIND = ": not a Parquet file with columns split, image (784 bytes) and label: "


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("label", None, KIND),
        ("image", pa.array([bytes(783), bytes(785)] * 6, pa.binary()), KIND),
        ("image", pa.array([[0] * IMAGE] * 12, pa.list_(pa.uint8())), KIND),
        ("image", pa.array([bytes(IMAGE)] * 11 + [None], pa.binary(IMAGE)), KIND),
        ("label", [0.5] * 12, KIND),
        ("split", list(range(12)), KIND),
        ("label", [*range(10), 10, 0], ", split valid: labels from 0 to 10, allowed: 0 to 9"),
        ("label", [0, -1, *range(10)], ", split train: labels from -1 to 7, allowed: 0 to 9"),
        ("split", ["valid"] * 12, ", split train: no images"),
        ("split", ["train"] * 12, ", split valid: no images"),
    ],
    ids=range(10),
)
def test_a_parquet_file_of_another_kind_is_refused_with_its_path(tmp_path, column, values, said) -> None:
    path = write(tmp_path / "d.parquet", **{column: values})
    assert refusal(path).startswith(f"{path}{said}")


def test_more_rows_than_any_mnist_are_refused_before_they_are_read(tmp_path: Path, monkeypatch):
    path = write(tmp_path / "d.parquet")
    monkeypatch.setattr(parquet, "MOST_IMAGES", 11)
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", None)  # not even callable
    assert refusal(path) == f"{path}: 12 rows, allowed: up to 11"


def test_a_damaged_parquet_file_is_refused_with_its_path(tmp_path: Path):
    for content in (b"PAR1", b"PAR1" + bytes(100) + b"PAR1"):
        (tmp_path / "d.parquet").write_bytes(content)
        assert KIND in refusal(tmp_path / "d.parquet")


# ---- other sources -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing.parquet", "no/such/folder", "file.parquet/below", "x" * 300])
def test_a_path_that_does_not_exist_is_refused_with_what_is_allowed(tmp_path: Path, name: str):
    write(tmp_path / "file.parquet")
    assert refusal(tmp_path / name).endswith(f"; allowed: {ALLOWED}")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bpacked"])
def test_a_file_of_another_kind_is_refused_with_what_is_allowed(tmp_path: Path, content: bytes):
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(content)
    line = f"{path}: is no Parquet file; allowed: {ALLOWED}"
    assert refusal(path) == line
    with pytest.raises(TuneAppError, match=r"is no Parquet file; allowed: .*docs/tasks\.md$"):
        load_test(str(path))


@pytest.mark.parametrize("url", ["http://localhost/", "HTTPS://me:secret@localhost/x"])
def test_a_url_is_refused_with_what_is_allowed_and_without_its_password(url: str):
    said = f"{url.partition('//')[0]}//...: is no path on this machine, allowed: {ALLOWED}"
    assert refused.refusal(load, url) == said
