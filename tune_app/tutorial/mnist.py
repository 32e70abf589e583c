"""MNIST as uint8 NumPy arrays: the copy in this package, or data of the same kind from elsewhere.

The images for training and validation are the first 50,000 and the next 10,000 of the original training
file. The 10,000 test images are read by `load_test` alone, for a winner: no search ever sees them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tune_app.errors import TuneAppError
from tune_app.typed_path import typed_path

SHIPPED = Path(__file__).parent / "mnist.parquet"
IMAGE = 28 * 28
ALLOWED = "a Parquet file, a folder or URL (http:// or https://) with the four IDX files, tutorial"
MOST_IMAGES = 1_000_000
"""More than that is not MNIST-like; a bound on what a foreign file can make us allocate (784 MB)."""

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
    """MNIST from the package, or from `source`: a Parquet file, a folder or URL with IDX files, "tutorial".

    Raises `TuneAppError` where the data are missing, damaged or of another shape. The package's copy and
    the tutorial's must be the original to the bit.
    """
    if source is None:
        return load_parquet(SHIPPED, original=True)
    if source == "tutorial":
        from tune_app.tutorial.download import tutorial_file

        return tutorial_file()
    source = str(source)
    if source.lower().startswith(("http://", "https://")):
        from tune_app.tutorial.download import idx_files

        return idx_files(source)
    try:
        path = typed_path(source, ALLOWED)
        is_dir, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a name too long, a closed folder
        raise TuneAppError(f"{source}: cannot be read: {error.strerror}") from None
    if is_dir:
        from tune_app.tutorial.idx import load_folder

        return load_folder(path)
    if is_file:
        return load_parquet(path)
    raise TuneAppError(f"{source}: no such data; allowed: {ALLOWED}")


def load_test(source: str | Path | None = None) -> Split | None:
    """The test images of the same `source`, None where it has none. Raises `TuneAppError` as `load` does."""
    if source in (None, "tutorial"):  # its training images are the package's to the bit, and so are its test images
        split = read_splits(SHIPPED, ["test"])["test"]
        require_original("test", split, str(SHIPPED))
        return split
    source = str(source)
    if source.lower().startswith(("http://", "https://")):
        from tune_app.tutorial.download import idx_test_files

        return idx_test_files(source)
    path = typed_path(source)
    if path.is_dir():
        from tune_app.tutorial.idx import load_test_folder

        return load_test_folder(path)
    return read_splits(path, ["test"]).get("test")


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
        if file.metadata.num_rows > MOST_IMAGES:
            raise TuneAppError(f"{path}: {file.metadata.num_rows} rows, allowed: up to {MOST_IMAGES}")
        groups = [g for g in range(file.num_row_groups) if may_hold(file.metadata.row_group(g), names)]
        table = file.read_row_groups(groups, columns=["split", "image", "label"])
        if nulls := [name for name in table.column_names if table[name].null_count]:
            raise ValueError(f"column {nulls[0]} has empty cells")
        split, image, label = (table[name].combine_chunks() for name in ("split", "image", "label"))
        x = np.frombuffer(b"".join(image.cast(pa.binary(IMAGE)).buffers()[1:]), np.uint8).reshape(-1, IMAGE)
        y = label.cast(pa.int64()).to_numpy()
        chosen = {name: pa.compute.equal(split, name).to_numpy(zero_copy_only=False) for name in names}
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TuneAppError(
            f"{path}: not a Parquet file with columns split, image ({IMAGE} bytes) and label: {reason}"
        ) from None
    return {name: checked(x[rows], y[rows], f"{path}, split {name}") for name, rows in chosen.items() if rows.any()}


def may_hold(group: pq.RowGroupMetaData, names: Sequence[str]) -> bool:
    """Whether a row group may hold one of these splits, by its statistics: the others are not even read."""
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema == "split" and column.is_stats_set:
            low, high = column.statistics.min, column.statistics.max
            return not isinstance(low, str) or any(low <= name <= high for name in names)
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
