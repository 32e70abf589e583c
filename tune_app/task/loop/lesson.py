"""The lesson that a level returns: the parts to train with, in the words of the tutorial."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

from .batches import Loader
from .chance import GENERATORS, Generator, reachable

Maximize = Annotated[Tensor | float, "max"]
"""The type of a metric's value if more is better: (n,), a value for each item, or one number for all."""
Minimize = Annotated[Tensor | float, "min"]
"""The type of a metric's value if less is better."""


class Optimizer(Protocol):
    """The methods that the loop needs of an optimizer, torch's or one of one's own."""

    def step(self) -> object:
        """Update the parameters from their gradients."""

    def zero_grad(self) -> object:
        """Forget the gradients."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """The parts that one level trains with.

    model: a module, or any function of xb. loss_func(out, yb): the mean over the items of a batch. each_batch,
    each_epoch: a schedule, stepped after each batch or each epoch; `ReduceLROnPlateau` is told the valid loss.
    step(xb, yb): does all of a batch but the schedules and returns the loss. keeps: by name, what else changes in
    a training: plain tensors, random generators, and what has `state_dict` and `load_state_dict`.

    Raises `TypeError` for a part of another kind, `ValueError` for a loader without batches.
    """

    model: Callable[[Any], Any]
    loss_func: Callable[[Any, Any], Tensor]
    opt: Optimizer
    train_dl: Loader
    valid_dl: Loader
    _: KW_ONLY
    each_batch: LRScheduler | None = None
    each_epoch: LRScheduler | None = None
    step: Callable[[Any, Any], Tensor | float] | None = None
    keeps: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        must(has(self.model, "__call__"), "model", self.model, "a module or a function")
        must(has(self.loss_func, "__call__"), "loss_func", self.loss_func, "a function or a module")
        must(has(self.opt, "step", "zero_grad"), "opt", self.opt, "an optimizer with step() and zero_grad()")
        for name, loader in (("train_dl", self.train_dl), ("valid_dl", self.valid_dl)):
            must(has(loader, "__iter__") and has_length(loader), name, loader, "batches with a length")
            if len(loader) == 0:
                raise ValueError(f"{name} has no batches, allowed: one or more")
        for name, schedule in (("each_batch", self.each_batch), ("each_epoch", self.each_epoch)):
            must(isinstance(schedule, LRScheduler | None), name, schedule, "a schedule of torch")
        by_loss = isinstance(self.each_batch, ReduceLROnPlateau)
        must(not by_loss, "each_batch", self.each_batch, "a schedule that needs no valid loss")
        must(self.step is None or has(self.step, "__call__"), "step", self.step, "a function of xb and yb")
        must(isinstance(self.keeps, Mapping), "keeps", self.keeps, "a dictionary")
        for name, part in self.keeps.items():
            kept = isinstance(part, (Tensor, *GENERATORS)) or has(part, "state_dict", "load_state_dict")
            kinds = "a tensor, a random generator, or what has state_dict() and load_state_dict()"
            must(kept, f"keeps[{name!r}]", part, kinds)


def must(fits: bool, name: str, part: object, allowed: str) -> None:
    """Raise `TypeError` where a part of a lesson does not fit."""
    if not fits:
        raise TypeError(f"{name} is of type {type(part).__name__}, allowed: {allowed}")


def has(part: object, *methods: str) -> bool:
    """True if a part has all these methods; a class does not, only its objects do."""
    return not isinstance(part, type) and all(callable(getattr(part, method, None)) for method in methods)


def has_length(loader: Loader) -> bool:
    """True if a loader knows its number of batches; that of a stream has a `__len__` that raises."""
    try:
        return len(loader) >= 0
    except TypeError:
        return False


def modules(lesson: Lesson) -> list[nn.Module]:
    """Model and loss, where they are modules."""
    return [part for part in (lesson.model, lesson.loss_func) if isinstance(part, nn.Module)]


def place(lesson: Lesson, device: torch.device | str) -> None:
    """Move model and loss to the device; do so before a state is loaded, which goes where the parameters are."""
    for part in modules(lesson):
        part.to(device)


def train_mode(lesson: Lesson, mode: bool) -> None:
    """model.train() or model.eval(), and the same for the loss, where they are modules."""
    for part in modules(lesson):
        part.train(mode)


def count_parameters(lesson: Lesson) -> int:
    """The number of trained numbers: parameters of model and loss, and kept tensors that require a gradient.

    Raises `ValueError` where a lazy layer has not seen a batch yet.
    """
    of_modules = (p for part in modules(lesson) for p in part.parameters())
    tensors = (part for part in lesson.keeps.values() if isinstance(part, Tensor))
    return sum(p.numel() for p in {id(p): p for p in (*of_modules, *tensors) if p.requires_grad}.values())


def own_generators(lesson: Lesson) -> list[Generator]:
    """The generators in `keeps`, and in attributes of a lesson's loaders, samplers, data sets and modules."""
    inner = (module for part in modules(lesson) for module in part.modules())
    held = reachable(lesson.train_dl, lesson.valid_dl, *inner, *lesson.keeps.values())
    return [part for part in held if isinstance(part, GENERATORS)]


def end_workers(lesson: Lesson) -> None:
    """Make its loaders start their workers anew for each reading.

    Workers that persist go on with the random numbers of the epochs before.
    """
    for part in reachable(lesson.train_dl, lesson.valid_dl):
        if isinstance(part, DataLoader):
            vars(part)["persistent_workers"] = False  # it refuses the usual way once it is built
