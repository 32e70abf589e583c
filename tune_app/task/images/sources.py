"""The sources of images: the copy in this package, or a Parquet file with data of the same kind."""

from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.task.images.mnist import ALLOWED, ORIGINAL, ORIGINAL_TEST, Mnist, Split
from tune_app.task.images.parquet import load_parquet, read_splits
from tune_app.typed_path import typed_path

SHIPPED = Path(__file__).parent / "mnist.parquet"
NOT_ORIGINAL = "{}: is not MNIST to the bit, allowed: to install the package again"


def load(source: str | Path | None = None) -> Mnist:
    """MNIST from the package, where it must be the original to the bit, or images of its kind from `source`.

    Raises `TuneAppError` where the data are missing, damaged or of another shape.
    """
    if source is not None:
        return load_parquet(file_at(source))
    images = load_parquet(SHIPPED)
    if images.digest() != ORIGINAL:
        raise TuneAppError(NOT_ORIGINAL.format(SHIPPED))
    return images


def load_test(source: str | Path | None = None) -> Split | None:
    """The test images of the same `source`, None where it has none. Raises `TuneAppError` as `load` does."""
    split = read_splits(SHIPPED if source is None else file_at(source), ["test"]).get("test")
    if source is None and (split is None or split.digests != ORIGINAL_TEST):
        raise TuneAppError(NOT_ORIGINAL.format(SHIPPED))
    return split


def file_at(given: str | Path) -> Path:
    """The Parquet file that somebody named; `TuneAppError` where there is none."""
    path = typed_path(given, ALLOWED)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise TuneAppError(f"{given}: {error.strerror or error}; allowed: {ALLOWED}") from None
    if start != b"PAR1":
        raise TuneAppError(f"{path}: is no Parquet file; allowed: {ALLOWED}")
    return path
