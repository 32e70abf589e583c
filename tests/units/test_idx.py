import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import refused
from tune_app.task.images import idx
from tune_app.task.images.idx import IMAGES, LABELS, TEST_IMAGES, TEST_LABELS
from tune_app.task.images.mnist import ALLOWED, Mnist
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
    line = refused.refusal(load, str(folder))
    assert line.startswith(str(folder))
    return line.removeprefix(str(folder)).lstrip("/")


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
        said = f"{tmp_path}: has {raw[0]} and {raw[1]}; allowed: one of them"
        assert refused.refusal(read, str(tmp_path)) == said
    assert len(load(str(tmp_path / "MNIST")).train.x) == 1000


@pytest.mark.parametrize("packed", [False, True])
def test_names_with_a_dot_are_known_and_come_after_the_published_ones(tmp_path, all_four, packed):
    write(tmp_path, {name.replace("-idx", ".idx"): content for name, content in all_four.items()})
    expected = load(str(made(tmp_path / "usual", all_four)))
    assert load(str(tmp_path)).digest() == expected.digest()
    found = load_test(str(tmp_path))
    assert found is not None
    assert len(found.x) == 7
    write(tmp_path, {name.replace("-idx", ".idx"): b"garbage" for name in all_four})
    assert load(str(write(tmp_path, all_four, packed))).digest() == expected.digest()


@pytest.mark.parametrize("name", ["EMNIST/raw/emnist-digits-train-images-idx3-ubyte", "mnist.pkl.gz", "MNIST.zip"])
def test_a_folder_with_something_else_is_refused_with_what_is_allowed(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"something")
    for read in (load, load_test):
        assert refused.refusal(read, str(tmp_path)) == f"{tmp_path}: has no {IMAGES}; allowed: {ALLOWED}"


# ---- what is refused -----------------------------------------------------------------------------------


def test_missing_labels_are_refused_with_both_names_they_may_have(tmp_path, contents):
    del contents[LABELS]
    assert refusal(write(tmp_path, contents)) == f": {LABELS} is missing; allowed: {LABELS} or {LABELS}.gz"


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_a_truncated_file_is_refused_with_its_path(tmp_path, contents, name, packed):
    full = len(contents[name])
    contents[name] = contents[name][:-100]
    line = refusal(write(tmp_path, contents, packed))
    assert line == f"{name}{'.gz' * packed}: {full - 100} bytes, but its header promises {full}"


OTHER: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: b"",
    "an HTML page": lambda content: b"<!DOCTYPE html>\n<html>Sign in</html>\n",
    "a wrong magic number": lambda content: b"\1" + content[1:],
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
    assert refusal(write(tmp_path, contents)) == ": no images"


def test_a_gz_file_that_unpacks_to_more_than_any_mnist_is_refused(tmp_path, contents, monkeypatch):
    monkeypatch.setattr(idx, "MOST_BYTES", len(contents[IMAGES]))
    assert len(load(str(write(tmp_path, contents, packed=True))).train.x) == 1000
    write(tmp_path, {IMAGES: contents[IMAGES] + bytes(20_000_000)}, packed=True)
    assert refusal(tmp_path) == f"{IMAGES}.gz: unpacks to more than {len(contents[IMAGES])} bytes"


GZ_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda packed: packed[:-1000],
    "with a wrong checksum": lambda packed: packed[:-8] + bytes(4) + packed[-4:],
    "with garbage in the middle": lambda packed: packed[:2000] + b"\xff" * 500 + packed[2500:],
}


@pytest.mark.parametrize("damage", GZ_DAMAGE)
def test_a_damaged_gz_file_is_refused_with_its_path(tmp_path, contents, damage):
    write(tmp_path, contents, packed=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(GZ_DAMAGE[damage](path.read_bytes()))
    assert refusal(tmp_path).startswith(f"{IMAGES}.gz: cannot be read: ")
