"""The files that hold images like MNIST's, and the files of other kinds that people try."""

import re

from tune_app.task.images.mnist import IMAGE

ALLOWED = "a Parquet file, a folder or URL (http:// or https://) with the four IDX files, mnist.pkl.gz, tutorial"
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
"""The other kinds, by the file's name."""


def other_kind(name: str) -> str | None:
    """The other kind of data that a file's name suggests."""
    return next((kind for pattern, kind in OTHERS if re.search(pattern, name.lower())), None)
