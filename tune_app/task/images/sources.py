"""The sources of images: the copy in this package, or data of the same kind from elsewhere."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.task.images.formats import ALLOWED, FORMATS, other_kind
from tune_app.task.images.mnist import Mnist, Split, require_original
from tune_app.task.images.parquet import load_parquet, read_splits
from tune_app.typed_path import typed_path

SHIPPED = Path(__file__).parent / "mnist.parquet"


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
    """The functions that read the images of a source."""
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
    """The functions that read the images of a file; a known other kind is refused by its name."""
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


def original_test() -> Split:
    """The test images of MNIST, for every source whose training images are MNIST's to the bit."""
    split = read_splits(SHIPPED, ["test"])["test"]
    require_original("test", split, str(SHIPPED))
    return split
