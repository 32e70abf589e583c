"""What a task's `load` returns: any nest of arrays, numbers and text."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tune_app.errors import TuneAppError


def leaves(data: Any, where: str = "data") -> Iterator[Any]:
    """The arrays, numbers and texts of a nest, in its order; `TuneAppError` for anything else."""
    if isinstance(data, Mapping):
        for key, part in data.items():
            yield from leaves(part, f"{where}[{key!r}]")
    elif isinstance(data, list | tuple):
        for i, part in enumerate(data):
            yield from leaves(part, f"{where}[{i}]")
    elif isinstance(data, np.ndarray):
        if data.dtype.hasobject:
            raise TuneAppError(f"load: {where} is an array of objects, allowed: of numbers, or of text by dtype U")
        yield data
    elif data is None or isinstance(data, str | bytes | int | float | np.generic):
        yield data
    else:
        raise TuneAppError(
            f"load: {where} is a {type(data).__name__}, allowed: arrays of NumPy, numbers, text, None, and"
            " dictionaries, lists and tuples of these; or a path, which levels read from"
        )


def digest(data: Any) -> str:
    """A SHA-256 that names data: that of the SHA-256 of each leaf."""
    return hashlib.sha256("".join(map(leaf_digest, leaves(data))).encode()).hexdigest()


def leaf_digest(leaf: Any) -> str:
    """The SHA-256 of an array's bytes, or of a number or text in words."""
    if isinstance(leaf, np.ndarray) and leaf.ndim:
        return hashlib.sha256(np.ascontiguousarray(leaf).data.cast("B") if leaf.size else b"").hexdigest()
    return hashlib.sha256(json.dumps(str(leaf)).encode()).hexdigest()


def checksum(data: Any) -> int:
    """A CRC-32 of all arrays: changes where one of them was written into."""
    crc = 0
    for leaf in leaves(data):
        if isinstance(leaf, np.ndarray) and leaf.size:
            crc = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).data, crc)
    return crc


def tensors(data: Any) -> Any:
    """The same nest with tensors instead of arrays, on the arrays' own memory, which must not be written to."""
    import torch

    def made(part: Any) -> Any:
        if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
            return torch.utils.dlpack.from_dlpack(part)
        return part

    return mapped(made, data)


def mapped(change: Callable[[Any], Any], data: Any) -> Any:
    """A nest with each leaf changed."""
    if isinstance(data, Mapping):
        return {key: mapped(change, part) for key, part in data.items()}
    if isinstance(data, list | tuple):
        parts = [mapped(change, part) for part in data]
        return type(data)(*parts) if hasattr(data, "_fields") else type(data)(parts)
    return change(data)
