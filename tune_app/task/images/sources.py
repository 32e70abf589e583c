"""Where the images of a search come from: the copy in this package, or data of the same kind from elsewhere."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tune_app.errors import TuneAppError
from tune_app.task.images.formats import ALLOWED, FORMATS, other_kind
from tune_app.task.images.mnist import IMAGE, MOST_IMAGES, Mnist, Split, checked, require_original
from tune_app.typed_path import typed_path

SHIPPED = Path(__file__).parent / "mnist.parquet"
NAMES_OF = {"train": ["train"], "valid": ["valid", "validation", "val"], "test": ["test"]}
"""How a Parquet file may call a split."""


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
    from tune_app.task.images import download, idx

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
            from tune_app.task.images.download import from_tutorial

            read = partial(from_tutorial, path, str(path))

            def test() -> Split:
                read()  # it must be the original, whose test images are the package's
                return original_test()

            return read, test
    return partial(load_parquet, path), lambda: read_splits(path, ["test"]).get("test")


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


def original_test() -> Split:
    """The test images of MNIST, for every source whose training images are MNIST's to the bit."""
    split = read_splits(SHIPPED, ["test"])["test"]
    require_original("test", split, str(SHIPPED))
    return split
