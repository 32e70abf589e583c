"""Build a lesson: call a level with data, a config and the facts of the run that it asks for."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from .chance import seeded
from .data import as_tensors
from .lesson import Lesson, place

Level = Callable[..., Lesson]


def build(
    level: Level, data: Any, config: Mapping[str, Any], *, epochs: int, seed: int, device: str = "cpu"
) -> Lesson:
    """Build the lesson of a level on the device. `seed` is that of its initialisation.

    data: what the task's `load` returned; the level gets tensors in the place of arrays. epochs: of the whole
    training, for schedules. Raises what the level raises, and `TypeError` where it returns no lesson.
    """
    facts = {"epochs": epochs, "device": device, "seed": seed}
    asked = {name: facts[name] for name in inspect.signature(level).parameters if name in facts}
    with seeded(seed):
        lesson = level(as_tensors(data), **asked, **config)
    if not isinstance(lesson, Lesson):
        raise TypeError(f"{level.__name__} returned a {type(lesson).__name__}, allowed: a Lesson")
    place(lesson, torch.device(device))
    return lesson


def usable(device: str) -> str:
    """The device "cpu" or "cuda"; the CPU where torch can use no GPU."""
    return device if torch.cuda.is_available() else "cpu"
