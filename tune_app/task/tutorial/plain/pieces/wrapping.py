"""The loader of levels 12 and 13."""

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.utils.data import DataLoader

# ---- batches that go through a function ----------------------------------------------------------------


class WrappedDataLoader:
    """A loader whose batches go through a function."""

    def __init__(self, dl: DataLoader, func: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        self.dl = dl
        self.func = func

    def __len__(self) -> int:
        return len(self.dl)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for b in self.dl:
            yield self.func(*b)
