"""MNIST as uint8 NumPy arrays: the copy in this package, or data of the same kind from elsewhere.

The images for training and validation are the first 50,000 and the next 10,000 of the original training
file. The 10,000 test images are read by `load_test` alone, for a winner: no search ever sees them.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tune_app.errors import TuneAppError
from tune_app.typed_path import typed_path

SHIPPED = Path(__file__).parent / "mnist.parquet"
IMAGE = 28 * 28
ALLOWED = "a Parquet file, a folder or URL (http:// or https://) with the four IDX files, mnist.pkl.gz, tutorial"
MOST_IMAGES = 1_000_000
"""More than that is not MNIST-like; a bound on what a foreign file can make us allocate (784 MB)."""

FORMATS = (
    f"a Parquet file with columns split, image ({IMAGE} bytes) and label, the tutorial's mnist.pkl.gz, a folder"
    " or URL with train-images-idx3-ubyte and train-labels-idx1-ubyte"
)
OTHERS = (
    (r"emnist-.*idx", "EMNIST, whose images are transposed"),
    (r"idx\d-", "a single IDX file"),
    (r"-of-\d+\.parquet$", "Hugging Face's Parquet, whose images are packed files"),
    (r"\.parquet$", "a Parquet file, which is given itself"),
    (r"\.csv(\.gz)?$", "a CSV file"),
    (r"\.npz$", "NumPy's archive of arrays"),
    (r"\.npy$", "a NumPy array"),
    (r"\.(zip|7z|tar|tgz|tar\.gz)$", "an archive that is not unpacked"),
    (r"\.(pkl|pickle|pt|pth)$", "a pickle, which may run code of its own"),
)
"""What else people have, by its name."""
NAMES_OF = {"train": ["train"], "valid": ["valid", "validation", "val"], "test": ["test"]}
"""How a Parquet file may call a split."""
LEAST_SHARE = 10
"""So many images of a class do not all land in the other split by chance: once in 20,000 times."""

SPLIT_DIGESTS = {
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
"""SHA-256 of the original's images (uint8) and labels (little-endian int64)."""


@dataclass(frozen=True)
class Split:
    """Images x (n, 784) uint8, 0 background to 255 foreground, and labels y (n,) int64 from 0 to 9."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]

    @cached_property
    def digests(self) -> tuple[str, str]:
        """SHA-256 of the images and of the labels."""
        x, y = np.ascontiguousarray(self.x), np.ascontiguousarray(self.y.astype("<i8", copy=False))
        return hashlib.sha256(x.data).hexdigest(), hashlib.sha256(y.data).hexdigest()


@dataclass(frozen=True, eq=False)
class Mnist:
    """What a search trains on and selects by."""

    train: Split
    valid: Split

    def digest(self) -> str:
        """One SHA-256 that names these images and labels in this order."""
        return joint_digest(*self.train.digests, *self.valid.digests)


def joint_digest(*parts: str) -> str:
    """The SHA-256 of SHA-256 digests."""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def original_digest() -> str:
    """The `digest` of MNIST itself."""
    return joint_digest(*SPLIT_DIGESTS["train"], *SPLIT_DIGESTS["valid"])


def load(source: str | Path | None = None) -> Mnist:
    """MNIST from the package, or from `source`: one of `FORMATS`, a folder of torchvision's, or "tutorial".

    Raises `TuneAppError` where the data are missing, damaged or of another shape. The package's copy and
    the tutorial's must be the original to the bit.
    """
    return readers(source)[0]()


def load_test(source: str | Path | None = None) -> Split | None:
    """The test images of the same `source`, None where it has none. Raises `TuneAppError` as `load` does."""
    return readers(source)[1]()


Readers = tuple[Callable[[], Mnist], Callable[[], Split | None]]
"""Read the images for training and validation; read the test images."""


def readers(given: str | Path | None) -> Readers:
    """How the images of a source are read."""
    if given is None:
        return partial(load_parquet, SHIPPED, original=True), original_test
    from tune_app.tutorial import download, idx

    source = str(given)
    if source == "tutorial":
        return download.tutorial_file, original_test
    if source.lower().startswith(("http://", "https://")):
        return partial(download.idx_files, source), partial(download.idx_test_files, source)
    try:
        path = typed_path(source, ALLOWED)
        if path.is_dir():
            path = idx.data_in(path)
        if path.is_dir():
            return partial(idx.load_folder, path), partial(idx.load_test_folder, path)
        if path.is_file():
            return file_readers(path)
    except OSError as error:  # a name too long, a closed folder
        raise TuneAppError(f"{source}: cannot be read: {error.strerror or error}") from None
    raise TuneAppError(f"{source}: no such data; allowed: {ALLOWED}")


def file_readers(path: Path) -> Readers:
    """How the images of a file are read; what is of a known other kind is refused by its name."""
    with path.open("rb") as file:
        start = file.read(4)
    name = path.name.lower()
    if start != b"PAR1" and not name.endswith(".parquet"):
        if kind := other_kind(name):
            raise TuneAppError(f"{path}: is {kind}; allowed: {FORMATS}")
        if start.startswith(b"\x1f\x8b") or name.endswith(".gz"):
            from tune_app.tutorial.download import from_tutorial

            read = partial(from_tutorial, path, str(path))

            def test() -> Split:
                read()  # it must be the original, whose test images are the package's
                return original_test()

            return read, test
    return partial(load_parquet, path), lambda: read_splits(path, ["test"]).get("test")


def other_kind(name: str) -> str | None:
    """Data of another kind that a file's name tells of."""
    return next((kind for pattern, kind in OTHERS if re.search(pattern, name.lower())), None)


def original_test() -> Split:
    """The test images of MNIST, for every source whose training images are MNIST's to the bit."""
    split = read_splits(SHIPPED, ["test"])["test"]
    require_original("test", split, str(SHIPPED))
    return split


def scarce(data: Mnist) -> tuple[list[str], list[str]]:
    """The classes that train or valid lacks, and those of which it has less than a tenth of its share, in words.

    Its share is as much as the other has, for its size. One of less than `LEAST_SHARE` images is not looked at.
    """
    lacking, few = [], []
    for name, here, there in (("train", data.train, data.valid), ("valid", data.valid, data.train)):
        counts = np.bincount(here.y, minlength=10)
        shares = np.bincount(there.y, minlength=10) * (len(here.y) / len(there.y))
        rare = [c for c in range(10) if shares[c] >= LEAST_SHARE and counts[c] < shares[c] / 10]
        if missing := [str(c) for c in rare if counts[c] == 0]:
            lacking.append(f"{name} has no image of class {', '.join(missing)}")
        few += [f"{name} has {counts[c]} of class {c}" for c in rare if counts[c]]
    return lacking, few


def load_parquet(path: Path, original: bool = False) -> Mnist:
    """Training and validation images of a file; `original`: they must be MNIST itself."""
    splits = read_splits(path, ["train", "valid"])
    for name in ("train", "valid"):
        if name not in splits:
            raise TuneAppError(f"{path}, split {name}: no images")
        if original:
            require_original(name, splits[name], str(path))
    return Mnist(splits["train"], splits["valid"])


def read_splits(path: Path, names: Sequence[str]) -> dict[str, Split]:
    """Read those of the splits `names` that a file with columns split, image (784 bytes) and label has."""
    try:
        file = pq.ParquetFile(path)
        if pa.types.is_struct(file.schema_arrow.field("image").type):
            raise TuneAppError(
                f"{path}: is Hugging Face's Parquet, whose images are packed files; allowed: {FORMATS}"
            )
        if file.metadata.num_rows > MOST_IMAGES:
            raise TuneAppError(f"{path}: {file.metadata.num_rows} rows, allowed: up to {MOST_IMAGES}")
        groups = [g for g in range(file.num_row_groups) if may_hold(file.metadata.row_group(g), names)]
        table = file.read_row_groups(groups, columns=["split", "image", "label"])
        if nulls := [name for name in table.column_names if table[name].null_count]:
            raise ValueError(f"column {nulls[0]} has empty cells")
        split, image, label = (table[name].combine_chunks() for name in ("split", "image", "label"))
        x = np.frombuffer(b"".join(image.cast(pa.binary(IMAGE)).buffers()[1:]), np.uint8).reshape(-1, IMAGE)
        y = label.cast(pa.int64()).to_numpy()
        chosen = {
            name: pa.compute.is_in(split, pa.array(NAMES_OF[name])).to_numpy(zero_copy_only=False) for name in names
        }
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TuneAppError(
            f"{path}: not a Parquet file with columns split, image ({IMAGE} bytes) and label: {reason}"
        ) from None
    for name in names:
        if len(spelled := sorted(set(NAMES_OF[name]) & set(pa.compute.unique(split).to_pylist()))) > 1:
            raise TuneAppError(f"{path}: has splits {' and '.join(spelled)}; allowed: one of them")
    return {name: checked(x[rows], y[rows], f"{path}, split {name}") for name, rows in chosen.items() if rows.any()}


def may_hold(group: pq.RowGroupMetaData, names: Sequence[str]) -> bool:
    """Whether a row group may hold one of these splits, by its statistics: the others are not even read."""
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema == "split" and column.is_stats_set:
            low, high = column.statistics.min, column.statistics.max
            return not isinstance(low, str) or any(
                low <= spelled <= high for name in names for spelled in NAMES_OF[name]
            )
    return True


def checked(x: NDArray[np.uint8], y: NDArray[np.int64], where: str) -> Split:
    """A split whose arrays fit each other; `TuneAppError` says what does not."""
    if len(x) == 0:
        raise TuneAppError(f"{where}: no images")
    if len(x) > MOST_IMAGES:
        raise TuneAppError(f"{where}: {len(x)} images, allowed: up to {MOST_IMAGES}")
    if x.dtype != np.uint8 or x.shape[1:] != (IMAGE,):
        raise TuneAppError(f"{where}: images are {x.dtype} {x.shape}, allowed: uint8 (n, {IMAGE})")
    if y.shape != (len(x),):
        raise TuneAppError(f"{where}: {len(x)} images but {len(y)} labels")
    if y.min() < 0 or y.max() > 9:
        raise TuneAppError(f"{where}: labels from {y.min()} to {y.max()}, allowed: 0 to 9")
    x.flags.writeable = y.flags.writeable = False  # shared by all trials of a machine
    return Split(x, y)


def require_original(name: str, split: Split, where: str) -> None:
    """Raise `TuneAppError` unless these are the images and labels of MNIST's split `name` in their order."""
    for what, found, expected in zip(("images", "labels"), split.digests, SPLIT_DIGESTS[name], strict=True):
        if found != expected:
            raise TuneAppError(f"{where}: the {name} {what} are not MNIST's: SHA-256 {found}, not {expected}")
