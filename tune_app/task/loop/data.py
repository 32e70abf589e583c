"""The data of a task: any nest of arrays, numbers and text that its `load` returns."""

import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np


def parts(data: Any, where: str = "data") -> Iterator[tuple[str, Any]]:
    """The arrays, numbers and texts of a nest with their places, in its order; `TypeError` for anything else."""
    if isinstance(data, Mapping):
        for key, part in data.items():
            yield from parts(part, f"{where}[{key!r}]")
    elif isinstance(data, list | tuple):
        for i, part in enumerate(data):
            yield from parts(part, f"{where}[{i}]")
    elif isinstance(data, np.ndarray) and (data.dtype.hasobject or data.dtype.char in "gG"):
        raise TypeError(f"{where} is an array of {data.dtype}, allowed: of numbers up to 64 bits, or of text")
    elif data is None or isinstance(data, np.ndarray | np.generic | str | bytes | int | float):
        yield where, data
    else:
        raise TypeError(
            f"{where} is of type {type(data).__name__}, allowed: tensors, arrays of NumPy, numbers, text, None, and"
            " dictionaries, lists and tuples of these; or str(path), from which levels read"
        )


def whole_path(source: str) -> str:
    """The whole path of a file or folder; what is none, such as a URL, stays as it is."""
    return os.path.abspath(source) if os.path.exists(source) else source  # noqa: PTH100, PTH110 (also a long one)


def digest(data: Any) -> str:
    """A SHA-256 that names data by the place, kind, shape and content of each part. Raises what `parts` raises."""
    named = hashlib.sha256()
    for where, part in parts(data):
        array = isinstance(part, np.ndarray)
        kind = f"{part.dtype.str} {part.shape}" if array else type(part).__name__
        content = np.ascontiguousarray(part).tobytes() if array else repr(part).encode()
        named.update(f"{where} {kind} {hashlib.sha256(content).hexdigest()}\n".encode())
    return named.hexdigest()


def checksum(data: Any) -> int:
    """A CRC-32 of all arrays of a nest, which changes where one of them is written to."""
    crc = 0
    for _, part in parts(data):
        if isinstance(part, np.ndarray) and part.dtype.kind in "biufc" and part.size:
            crc = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, crc)
    return crc


def as_arrays(data: Any) -> Any:
    """A nest with arrays in the place of tensors, all as torch takes them: in one piece, in native byte order."""
    torch = sys.modules.get("torch")  # where it is not, there are no tensors

    def made(part: Any) -> Any:
        if torch is not None and isinstance(part, torch.Tensor):
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
            return np.asarray(part, part.dtype.newbyteorder("="), order="C")
        return part

    return changed(made, data)


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
