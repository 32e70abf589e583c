"""The sources of images: the copy in this package, or data of the same kind from elsewhere."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.task.images.mnist import ALLOWED, Mnist, Split, require_original
from tune_app.task.images.parquet import load_parquet, read_splits
from tune_app.typed_path import typed_path

SHIPPED = Path(__file__).parent / "mnist.parquet"


def load(source: str | Path | None = None) -> Mnist:
    """MNIST from the package, or from `source`, one of `ALLOWED`.

    Raises `TuneAppError` where the data are missing, damaged or of another shape. The package's copy and
    the tutorial's must be the original to the bit.
    """
    return readers(source)[0]()


def load_test(source: str | Path | None = None) -> Split | None:
    """The test images of the same `source`, None where it has none. Raises `TuneAppError` as `load` does."""
    return readers(source)[1]()


def readers(given: str | Path | None) -> tuple[Callable[[], Mnist], Callable[[], Split | None]]:
    """The functions that read the images of a source: those for training and validation, and those for the test."""
    if given is None:
        return partial(load_parquet, SHIPPED, original=True), original_test
    from tune_app.task.images.download import tutorial_file

    if str(given) == "tutorial":
        return tutorial_file, original_test
    path = typed_path(given, ALLOWED)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise TuneAppError(f"{given}: {error.strerror or error}; allowed: {ALLOWED}") from None
    if start != b"PAR1":
        raise TuneAppError(f"{path}: is no Parquet file; allowed: {ALLOWED}")
    return partial(load_parquet, path), lambda: read_splits(path, ["test"]).get("test")


def original_test() -> Split:
    """The test images of MNIST, for every source whose training images are MNIST's to the bit."""
    split = read_splits(SHIPPED, ["test"])["test"]
    require_original("test", split, str(SHIPPED))
    return split
