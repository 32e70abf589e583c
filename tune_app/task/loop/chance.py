"""Random numbers: a training draws from generators that are seeded anew again and again, so none has to be kept.

Three libraries have a global generator: torch (one more on each GPU), numpy and Python. A loader, a sampler, a data
set or a module may hold one of its own. What is drawn after a reseeding depends on the seed alone.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
HOLDERS = (DataLoader, Sampler, Dataset)


def mixed(seed: int, *numbers: int) -> int:
    """One seed of 32 bits out of several numbers, none negative.

    Mixed, not added: epoch 1 of seed 1 must not be epoch 0 of seed 2. Zeros at the end change nothing.
    """
    return int(np.random.SeedSequence((seed, *numbers)).generate_state(1)[0])


def reseed(seed: int, own: Sequence[Generator] = ()) -> None:
    """Seed the global generators, and the generators `own`."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    for generator in own:
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = type(generator.bit_generator)(seed).state
        else:
            generator.seed(seed)


@contextmanager
def seeded(seed: int, own: Sequence[Generator] = ()) -> Iterator[None]:
    """A block that draws from `seed`; afterwards the global generators go on as if it had not been.

    In it, cuDNN computes the convolutions on a GPU by algorithms that always add up in the same order, and picks
    none by its speed.
    """
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    of_python, of_numpy = random.getstate(), np.random.get_state()
    cudnn = torch.backends.cudnn
    was = cudnn.deterministic, cudnn.benchmark
    with torch.random.fork_rng(devices=gpus):
        try:
            reseed(seed, own)
            cudnn.deterministic, cudnn.benchmark = True, False
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = was
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def reachable(*roots: object) -> list[object]:
    """Things, and the loaders, samplers, data sets and generators that are attributes of them, and of those."""
    found: dict[int, object] = {}
    todo = list(roots)
    while todo:
        thing = todo.pop()
        if id(thing) not in found:
            found[id(thing)] = thing
            attributes = getattr(thing, "__dict__", {})
            todo += [value for value in attributes.values() if isinstance(value, HOLDERS + GENERATORS)]
    return list(found.values())


SWITCHES: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, lambda device: torch.set_default_device(None if device.type == "cpu" else device)),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)
"""The functions that read and set torch's global switches."""
FLAGS = {
    torch.backends.cudnn: ("enabled", "benchmark", "deterministic", "allow_tf32"),
    torch.backends.cuda.matmul: ("allow_tf32", "allow_fp16_reduced_precision_reduction"),
    torch.backends.mkldnn: ("enabled",),
}
"""The switches that are attributes."""


@contextmanager
def switches_put_back() -> Iterator[None]:
    """A block that may change torch's global switches: afterwards they are as they were."""
    switches = [(read, write, read()) for read, write in SWITCHES]
    flags = [(place, name, getattr(place, name)) for place, names in FLAGS.items() for name in names]
    try:
        yield
    finally:
        for read, write, value in switches:
            if read() != value:  # some are slow to set, and setting a device at all slows torch down
                write(value)
        for place, name, flag in flags:
            if getattr(place, name) != flag:
                setattr(place, name, flag)
