"""Images from a Parquet file with the columns split, image (784 bytes) and label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tune_app.errors import TuneAppError
from tune_app.task.images.mnist import IMAGE, MOST_IMAGES, Mnist, Split, checked


def load(source: str | None) -> Mnist:
    """Training and validation images of a file; the `load` of an exported bundle."""
    if source is None:
        raise SystemExit("--data is missing: a Parquet file with the columns split, image (784 bytes) and label")
    return load_parquet(Path(source))


def load_parquet(path: Path) -> Mnist:
    """Training and validation images of a file."""
    splits = read_splits(path, ["train", "valid"])
    for name in ("train", "valid"):
        if name not in splits:
            raise TuneAppError(f"{path}, split {name}: no images")
    return Mnist(splits["train"], splits["valid"])


def read_splits(path: Path, names: Sequence[str]) -> dict[str, Split]:
    """Read those of the splits `names` that a file with columns split, image (784 bytes) and label has."""
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > MOST_IMAGES:
            raise TuneAppError(f"{path}: {file.metadata.num_rows} rows, allowed: up to {MOST_IMAGES}")
        at = file.schema_arrow.names.index("split")
        known = [file.metadata.row_group(g).column(at).statistics for g in range(file.num_row_groups)]
        ends = [(str(k.min), str(k.max)) if k and k.has_min_max else ("", "~") for k in known]
        # Row groups that cannot hold any of the splits are not read.
        groups = [g for g, (low, high) in enumerate(ends) if any(low <= name <= high for name in names)]
        table = file.read_row_groups(groups, columns=["split", "image", "label"])
        if nulls := [name for name in table.column_names if table[name].null_count]:
            raise ValueError(f"column {nulls[0]} has empty cells")
        split, image, label = (table[name].combine_chunks() for name in ("split", "image", "label"))
        x = np.frombuffer(b"".join(image.cast(pa.binary(IMAGE)).buffers()[1:]), np.uint8).reshape(-1, IMAGE)
        y = label.cast(pa.int64()).to_numpy()
        chosen = {name: pc.equal(split, name).to_numpy(zero_copy_only=False) for name in names}
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TuneAppError(
            f"{path}: not a Parquet file with columns split, image ({IMAGE} bytes) and label: {reason}"
        ) from None
    return {name: checked(x[rows], y[rows], f"{path}, split {name}") for name, rows in chosen.items() if rows.any()}
