"""All that is computed follows the trial's device, shown on torch's "meta" device: no GPU is needed to see it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from tune_app.task.levels import LEVELS, complete

from tune_app.task import training
from tune_app.task.images.mnist import Mnist, Split

META = torch.device("meta")


class Recorder(TorchDispatchMode):
    """Notes every tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.made += [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        return out


@pytest.fixture(scope="module")
def images() -> Mnist:
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        return Split(rng.integers(0, 255, (n, 784), dtype=np.uint8), rng.integers(0, 9, n))

    return Mnist(split(256), split(128))


@pytest.mark.parametrize("level", LEVELS)
def test_every_tensor_of_a_training_step_is_on_the_trials_device(level: str, images: Mnist) -> None:
    lesson = training.prepare(complete({"level": level}), images, 0, META)
    with Recorder() as recorder:
        xb, yb = next(iter(lesson.train_dl.batches(0, 0)))
        loss = lesson.loss_func(lesson.model(training.scaled(xb)), yb)
        loss.backward()
        lesson.opt.step()
        lesson.opt.zero_grad()
    assert {t.device.type for t in (xb, yb, loss, *lesson.parameters.values())} == {"meta"}
    elsewhere = [t for t in recorder.made if t.device != META]
    assert not any(t.is_floating_point() for t in elsewhere)
    if level == "accelerator":  # moves its batches itself, as the tutorial does
        assert sum(t.dtype == torch.uint8 for t in elsewhere) > 0
    else:  # the order of the images alone is drawn on the CPU
        assert {t.dtype for t in elsewhere} <= {torch.int64}
        assert all(t.dim() <= 1 for t in elsewhere)


def test_the_recorder_notices_what_is_computed_elsewhere() -> None:
    with Recorder() as recorder:
        torch.ones(3) * 2
    assert {t.device.type for t in recorder.made} == {"cpu"}


def test_the_images_are_moved_to_a_device_once_a_process(images: Mnist) -> None:
    first, second = (training.tensors(images, META) for _ in range(2))
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert {t.device.type for t in first} == {"meta"}
    before = training.tensors.cache_info().misses
    for lr in (0.1, 0.2):
        training.prepare(complete({"level": "fit", "lr": lr}), images, 0, META)
    assert training.tensors.cache_info().misses == before
