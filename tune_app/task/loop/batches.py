"""Batches and their loaders. A batch is a pair (xb, yb), each a tensor or a nest of them.

A nest is a tuple, a list or a dictionary of tensors, of anything else, and of nests.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Loader(Protocol):
    """Batches that can be read again and again."""

    def __len__(self) -> int:
        """The number of batches of one reading."""

    def __iter__(self) -> Iterator[Any]:
        """One reading."""


def get_data(train_ds: Dataset[Any], valid_ds: Dataset[Any], bs: int) -> tuple[Loader, Loader]:
    """Shuffled training batches and validation batches of twice the size.

    Raises `ValueError` for a batch size below 1.
    """
    if bs < 1:
        raise ValueError(f"bs is {bs}, allowed: 1 or more")
    return loader(train_ds, bs, shuffle=True), loader(valid_ds, bs * 2, shuffle=False)


def loader(ds: Dataset[Any], bs: int, shuffle: bool) -> Loader:
    """The batches of a data set."""
    return Batches(ds, bs, shuffle) if isinstance(ds, TensorDataset) else DataLoader(ds, bs, shuffle)


@dataclass(frozen=True)
class Batches:
    """Whole batches cut out of tensors at once: collecting single items takes twice as long as training on them."""

    ds: TensorDataset
    bs: int
    shuffle: bool

    def __len__(self) -> int:
        return (len(self.ds) + self.bs - 1) // self.bs

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        order = torch.randperm(len(self.ds)) if self.shuffle else torch.arange(len(self.ds))
        for indices in torch.split(order, self.bs):
            yield self.ds[indices]


def pairs(batches: Iterable[Any], source: str, device: torch.device | str) -> Iterator[tuple[Any, Any, int]]:
    """Batches on the device, each with its number of items. source: the name of their loader.

    Raises `TypeError` for a batch that is no pair, or has no tensor (n, ...) in its yb.
    """
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"a batch of {source} is a {described(batch)}, allowed: a pair (xb, yb)")
        xb, yb = mapped(lambda part: part.to(device) if hasattr(part, "to") else part, batch)
        n = next((len(part) for part in leaves(yb) if isinstance(part, Tensor) and part.dim()), None)
        if n is None:
            raise TypeError(f"yb of {source} is a {described(yb)}, allowed: a tensor (n, ...) or a nest with one")
        yield xb, yb, n


def described(thing: object) -> str:
    """The type of a nest, and how many parts it has."""
    return type(thing).__name__ + (f" of {len(thing)}" if isinstance(thing, tuple | list | dict) else "")


def mapped(func: Callable[..., Any], first: Any, *others: Any) -> Any:
    """A nest of the values of `func`, called with the parts in the same place of several nests."""
    if isinstance(first, dict):
        return {key: mapped(func, part, *(other[key] for other in others)) for key, part in first.items()}
    if isinstance(first, tuple | list) and not hasattr(first, "to"):  # a packed sequence is a tuple that has
        parts = [mapped(func, *parts) for parts in zip(first, *others, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return func(first, *others)


def leaves(nest: Any) -> Iterator[Any]:
    """The parts of a nest, from the first to the last."""
    if isinstance(nest, dict | tuple | list):
        for part in nest.values() if isinstance(nest, dict) else nest:
            yield from leaves(part)
    else:
        yield nest


def on_cpu(part: Any) -> Any:
    """A tensor on the CPU; anything else as it is."""
    return part.cpu() if isinstance(part, Tensor) else part


def joined(*parts: Any) -> Any:
    """One tensor of the tensors of several batches; anything else as a tuple."""
    if not isinstance(parts[0], Tensor):
        return parts
    return torch.cat([part if part.dim() else part.reshape(1) for part in parts])


def item(part: Any, i: int, n: int) -> Any:
    """The i-th of the n items of a tensor, as a batch of one; anything else as it is."""
    return part[i : i + 1] if isinstance(part, Tensor) and part.dim() and len(part) == n else part
