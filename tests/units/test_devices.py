"""All that is computed follows the trial's device, shown on torch's "meta" device: no GPU is needed to see it."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.trainings import LEVELS, parameters, training
from tune_app.task.images.mnist import Mnist
from tune_app.task.loop.batches import pairs


class Recorder(TorchDispatchMode):
    """Notes every tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.made += [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        return out


@pytest.mark.parametrize("level", LEVELS)
def test_every_tensor_of_a_training_step_is_on_the_trials_device(level: str, small: Mnist) -> None:
    lesson = training({"level": level}, small, device="meta").lesson()
    for loader in (lesson.train_dl, lesson.valid_dl):  # the last level moves its batches itself
        home = "meta" if level == "accelerator" else "cpu"
        assert {t.device.type for t in next(iter(loader))} == {home}
    assert {p.device.type for p in parameters(lesson).values()} == {"meta"}
    xb, yb, _ = next(pairs(lesson.train_dl, "train_dl", "meta"))
    with Recorder() as recorder:
        loss = lesson.loss_func(lesson.model(xb), yb)
        loss.backward()
        lesson.opt.step()
        lesson.opt.zero_grad()
    assert {t.device.type for t in (xb, yb, loss)} == {"meta"}
    elsewhere = [t for t in recorder.made if t.device.type != "meta"]
    assert len(elsewhere) < len(recorder.made) / 4
    # The loss by hand counts the images of a batch on the CPU.
    assert {(t.dtype, t.dim()) for t in elsewhere} <= ({(torch.int64, 1)} if level == "scratch" else set())
