"""The data of a task: any nest of arrays, numbers and text that its `load` returns."""

import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np


def parts(data: Any, where: str = "data") -> Iterator[Any]:
    """The arrays, numbers and texts of a nest, in its order; `TypeError` for anything else."""
    if isinstance(data, Mapping):
        for key, part in data.items():
            yield from parts(part, f"{where}[{key!r}]")
    elif isinstance(data, list | tuple):
        for i, part in enumerate(data):
            yield from parts(part, f"{where}[{i}]")
    elif isinstance(data, np.ndarray) and data.dtype.hasobject:
        raise TypeError(f"{where} is an array of objects, allowed: of numbers, or of text of the dtype U")
    elif data is None or isinstance(data, np.ndarray | np.generic | str | bytes | int | float):
        yield data
    else:
        raise TypeError(
            f"{where} is of type {type(data).__name__}, allowed: arrays of NumPy, numbers, text, None, and"
            " dictionaries, lists and tuples of these; or a path, from which levels read"
        )


def whole_path(source: str) -> str:
    """The whole path of a file or folder; what is none, such as a URL, stays as it is."""
    return os.path.abspath(source) if os.path.exists(source) else source  # noqa: PTH100, PTH110 (also a long one)


def digest(data: Any) -> str:
    """A SHA-256 that names data: that of the SHA-256 of each part. Raises `TypeError` as `parts` does."""
    return hashlib.sha256("".join(map(digest_of_part, parts(data))).encode()).hexdigest()


def digest_of_part(part: Any) -> str:
    """The SHA-256 of an array's bytes, or of a number or text in words."""
    content = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
    return hashlib.sha256(content).hexdigest()


def checksum(data: Any) -> int:
    """A CRC-32 of all arrays of a nest, which changes where one of them is written to."""
    crc = 0
    for part in parts(data):
        if isinstance(part, np.ndarray) and part.dtype.kind in "biufc" and part.size:
            crc = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, crc)
    return crc


def as_arrays(data: Any) -> Any:
    """A nest with arrays in the place of tensors, which share the memory of those on the CPU."""
    torch = sys.modules.get("torch")  # where it is not, there are no tensors
    return data if torch is None else changed(lambda part: array(part, torch), data)


def array(part: Any, torch: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else part


def as_tensors(data: Any) -> Any:
    """A nest with tensors in the place of arrays of numbers, which share their memory: nothing may write to it."""
    import torch

    def made(part: Any) -> Any:
        if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
            return torch.utils.dlpack.from_dlpack(part)
        return part

    return changed(made, data)


def changed(change: Callable[[Any], Any], data: Any) -> Any:
    """A nest with each part changed."""
    if isinstance(data, Mapping):
        return {key: changed(change, part) for key, part in data.items()}
    if isinstance(data, list | tuple):
        found = [changed(change, part) for part in data]
        return type(data)(*found) if hasattr(data, "_fields") else type(data)(found)
    return change(data)
