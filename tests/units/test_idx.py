import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tune_app.errors import TuneAppError
from tune_app.task.images import idx
from tune_app.task.images.formats import FORMATS
from tune_app.task.images.idx import IMAGES, LABELS, TEST_IMAGES, TEST_LABELS
from tune_app.task.images.mnist import Mnist
from tune_app.task.images.sources import load, load_test

N = 1200


@pytest.fixture
def contents(small: Mnist) -> dict[str, bytes]:
    """The two IDX files of MNIST's first 1,200 images."""
    return {IMAGES: idx_bytes(small.train.x[:N].reshape(-1, 28, 28)), LABELS: idx_bytes(small.train.y[:N])}


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes, as its published description has it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder: Path, contents: dict[str, bytes], packed: bool = False) -> Path:
    for name, content in contents.items():
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content, 1) if packed else content)
    return folder


def refusal(folder: Path) -> str:
    """The one line with which the folder's files are refused."""
    with pytest.raises(TuneAppError) as error:
        load(str(folder))
    assert str(error.value).startswith(str(folder))
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(folder)).lstrip("/")


# ---- what is read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_a_folder_of_idx_files_gives_the_images_and_labels_in_their_order(tmp_path, contents, small, packed):
    found = load(str(write(tmp_path, contents, packed)))
    assert np.array_equal(np.concatenate([found.train.x, found.valid.x]), small.train.x[:N])
    assert np.array_equal(np.concatenate([found.train.y, found.valid.y]), small.train.y[:N])
    assert {found.train.x.dtype, found.valid.x.dtype} == {np.dtype(np.uint8)}
    assert {found.train.y.dtype, found.valid.y.dtype} == {np.dtype(np.int64)}
    assert not any(a.flags.writeable for a in (found.train.x, found.train.y, found.valid.x, found.valid.y))


@pytest.mark.parametrize(("n", "train", "valid"), [(2, 1, 1), (5, 4, 1), (6, 5, 1), (7, 5, 2), (60, 50, 10)])
def test_a_few_images_are_split_the_same_way_and_none_is_lost(tmp_path, contents, small, n, train, valid):
    images, labels = small.train.x[:n].reshape(-1, 28, 28), small.train.y[:n]
    found = load(str(write(tmp_path, {IMAGES: idx_bytes(images), LABELS: idx_bytes(labels)})))
    assert (len(found.train.x), len(found.train.y)) == (train, train)
    assert (len(found.valid.x), len(found.valid.y)) == (valid, valid)


def test_the_files_of_test_images_are_not_needed_nor_read(tmp_path, contents):
    write(tmp_path, {"t10k-images-idx3-ubyte": b"garbage", "t10k-labels-idx1-ubyte": b""})
    assert len(load(str(write(tmp_path, contents))).valid.x) == 200


# ---- where people have them ----------------------------------------------------------------------------


def made(folder: Path, contents: dict[str, bytes]) -> Path:
    """A new folder with these files."""
    folder.mkdir(parents=True)
    return write(folder, contents)


@pytest.fixture
def all_four(contents: dict[str, bytes], small: Mnist) -> dict[str, bytes]:
    """The files of 1,200 training images and of seven test images."""
    test = small.valid
    return {**contents, TEST_IMAGES: idx_bytes(test.x[:7].reshape(-1, 28, 28)), TEST_LABELS: idx_bytes(test.y[:7])}


@pytest.mark.parametrize("below", ["MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "raw"])
def test_the_folder_of_torchvision_is_the_one_that_it_puts_them_into(tmp_path, all_four, small, below):
    made(tmp_path / below, all_four)
    assert load(str(tmp_path)).digest() == load(str(tmp_path / below)).digest()
    found = load_test(str(tmp_path))
    assert found is not None
    assert np.array_equal(found.x, small.valid.x[:7])


def test_the_files_of_a_folder_itself_come_before_those_below_it(tmp_path, contents, small):
    made(tmp_path / "MNIST" / "raw", {IMAGES: b"", LABELS: b""})
    assert len(load(str(write(tmp_path, contents))).train.x) == 1000


def test_of_two_data_sets_below_a_folder_one_must_be_named(tmp_path, all_four):
    raw = [made(tmp_path / name / "raw", all_four) for name in ("FashionMNIST", "MNIST")]
    for read in (load, load_test):
        with pytest.raises(TuneAppError) as error:
            read(str(tmp_path))
        assert str(error.value) == f"{tmp_path}: has {raw[0]} and {raw[1]}; allowed: one of them"
    assert len(load(str(tmp_path / "MNIST")).train.x) == 1000


def dotted(name: str) -> str:
    return name.replace("-idx", ".idx")


SPELLED: dict[str, Callable[[str], str]] = {
    "with a dot": dotted,
    "with a dot, packed": lambda name: f"{dotted(name)}.gz",
    "packed on a system that prefers capitals": lambda name: f"{name}.GZ",
    "in capitals": lambda name: dotted(name).upper(),
}


@pytest.mark.parametrize("spelled", SPELLED)
def test_other_spellings_of_the_four_names_are_known(tmp_path, all_four, spelled):
    write(tmp_path, {SPELLED[spelled](name): content for name, content in all_four.items()})
    expected = load(str(made(tmp_path / "usual", all_four)))
    assert load(str(tmp_path)).digest() == expected.digest()
    found = load_test(str(tmp_path))
    assert found is not None
    assert len(found.x) == 7


def test_a_file_of_the_published_name_comes_before_another_spelling(tmp_path, contents):
    write(tmp_path, {dotted(name): b"garbage" for name in contents})
    assert len(load(str(write(tmp_path, contents, packed=True))).train.x) == 1000
    write(tmp_path, {f"{name}.gz": b"garbage" for name in contents})
    assert len(load(str(write(tmp_path, contents))).train.x) == 1000


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("emnist-letters-train-images-idx3-ubyte.gz", "EMNIST, whose images are transposed"),
        ("EMNIST/raw/emnist-digits-train-images-idx3-ubyte", "EMNIST, whose images are transposed"),
        ("QMNIST/raw/qmnist-train-images-idx3-ubyte", "a single IDX file"),
        ("train-00000-of-00001.parquet", "Hugging Face's Parquet, whose images are packed files"),
        ("digits.Parquet", "a Parquet file, which is given itself"),
        ("mnist_train.csv", "a CSV file"),
        ("mnist.npz", "NumPy's archive of arrays"),
        ("archive.ZIP", "an archive that is not unpacked"),
    ],
)
def test_a_folder_with_something_else_is_refused_with_its_kind(tmp_path, name, kind):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"something")
    assert refusal(tmp_path) == f": has {name}, {kind}; allowed: {FORMATS}"
    with pytest.raises(TuneAppError, match=kind):
        load_test(str(tmp_path))


# ---- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [IMAGES, LABELS])
def test_a_missing_file_is_refused_with_both_names_it_may_have(tmp_path, contents, missing):
    del contents[missing]
    assert refusal(write(tmp_path, contents)) == f": {missing} is missing; allowed: {missing} or {missing}.gz"


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_a_truncated_file_is_refused_with_its_path(tmp_path, contents, name, packed):
    full = len(contents[name])
    contents[name] = contents[name][:-100]
    line = refusal(write(tmp_path, contents, packed))
    assert line == f"{name}{'.gz' * packed}: {full - 100} bytes, but its header promises {full}"


OTHER: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: b"",
    "half a header": lambda content: content[:7],
    "an HTML page": lambda content: b"<!DOCTYPE html>\n<html>Sign in</html>\n",
    "a wrong magic number": lambda content: b"\1" + content[1:],
    "another type of numbers": lambda content: content[:2] + b"\x0d" + content[3:],
    "another number of dimensions": lambda content: content[:3] + b"\2" + content[4:],
}


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("other", OTHER)
def test_a_file_that_is_not_idx_is_refused_with_its_path(tmp_path, contents, name, other):
    contents[name] = OTHER[other](contents[name])
    dimensions = 3 if name == IMAGES else 1
    assert refusal(write(tmp_path, contents)).startswith(
        f"{name}: not an IDX file of {dimensions} dimensions of bytes, it starts with "
    )


@pytest.mark.parametrize(("height", "width"), [(27, 28), (28, 27), (14, 56)])
def test_images_of_another_size_are_refused_with_what_is_allowed(tmp_path, contents, height, width):
    contents[IMAGES] = idx_bytes(np.zeros((N, height, width)))
    line = refusal(write(tmp_path, contents))
    assert line == f"{IMAGES}: images of {height}x{width} pixels, allowed: 28x28"


def test_a_header_that_promises_more_than_memory_holds_is_refused_at_once(tmp_path, contents):
    contents[IMAGES] = struct.pack(">4B3I", 0, 0, 8, 3, *(3 * [2**32 - 1]))
    assert f"16 bytes, but its header promises {(2**32 - 1) ** 3 + 16}" in refusal(write(tmp_path, contents))


@pytest.mark.parametrize("labels", [N - 1, N + 1])
def test_another_number_of_labels_than_images_is_refused(tmp_path, contents, labels):
    contents[LABELS] = idx_bytes(np.zeros(labels))
    assert refusal(write(tmp_path, contents)) == f": {N} images but {labels} labels"


def test_labels_out_of_range_are_refused_with_what_is_allowed(tmp_path, contents):
    contents[LABELS] = contents[LABELS][:-1] + b"\x0a"
    assert refusal(write(tmp_path, contents)) == ": labels from 0 to 10, allowed: 0 to 9"


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_to_split_are_refused(tmp_path, contents, n):
    contents = {IMAGES: idx_bytes(np.zeros((n, 28, 28))), LABELS: idx_bytes(np.zeros(n))}
    assert refusal(write(tmp_path, contents)) == f"{IMAGES}: {n} images, allowed: 2 or more"


def test_a_gz_file_that_unpacks_to_more_than_any_mnist_is_refused_and_not_unpacked(tmp_path, contents, monkeypatch):
    monkeypatch.setattr(idx, "MOST_BYTES", len(contents[IMAGES]))
    assert len(load(str(write(tmp_path, contents, packed=True))).train.x) == 1000
    bomb = contents[IMAGES] + bytes(20_000_000)
    write(tmp_path, {IMAGES: bomb}, packed=True)
    read: list[int] = []
    monkeypatch.setattr(gzip.GzipFile, "read", counting(gzip.GzipFile.read, read))
    assert refusal(tmp_path) == f"{IMAGES}.gz: unpacks to more than {len(contents[IMAGES])} bytes"
    assert sum(read) == len(contents[IMAGES]) + 1


def counting(method: Callable[..., bytes], counts: list[int]) -> Callable[..., bytes]:
    """The same method, which also appends how many bytes it gave."""

    def read(self: object, size: int = -1) -> bytes:
        content = method(self, size)
        counts.append(len(content))
        return content

    return read


GZ_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda packed: packed[:-1000],
    "cut off in its header": lambda packed: packed[:5],
    "with a wrong checksum": lambda packed: packed[:-8] + bytes(4) + packed[-4:],
    "with garbage in the middle": lambda packed: packed[:2000] + b"\xff" * 500 + packed[2500:],
    "of another method": lambda packed: packed[:2] + b"\7" + packed[3:],
    "with garbage behind it": lambda packed: packed + b"garbage",
}


@pytest.mark.parametrize("damage", GZ_DAMAGE)
def test_a_damaged_gz_file_is_refused_with_its_path(tmp_path, contents, damage):
    write(tmp_path, contents, packed=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(GZ_DAMAGE[damage](path.read_bytes()))
    assert refusal(tmp_path).startswith(f"{IMAGES}.gz: cannot be read: ")
