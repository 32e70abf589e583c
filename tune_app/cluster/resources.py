"""The CPUs and GPUs that there are, and how trials share them."""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tune_app.errors import TuneAppError
from tune_app.experiment.settings import AUTO, Settings

GPU_BYTES_PER_TRIAL = 2_000_000_000
"""GPU memory that a trial may take: most of it is CUDA's own, a batch is small."""
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_UNTOLD, SECONDS_TO_LOOK = 10.0, 60.0
"""How long GPUs are looked at without a word, and in all: a worker has to start there, and to import torch."""
NO_CUDA, HELD = "that torch cannot use (no CUDA)", "that others hold"


@dataclass(frozen=True)
class Node:
    """One machine. `gpu_bytes`: the memory of each of its GPUs, where that is known."""

    cpus: float
    gpus: float
    gpu_bytes: float = math.inf


@dataclass(frozen=True)
class Share:
    """The resources that each trial holds, and how many trials fit at a time."""

    cpus: float
    gpus: float
    at_once: int

    def fitting(self, nodes: Iterable[Node]) -> int:
        """How many trials with this share fit on these machines."""
        return sum(
            min(
                math.floor(node.cpus / self.cpus + 1e-6),
                math.floor(node.gpus / self.gpus + 1e-6) if self.gpus else 1_000_000,
            )
            for node in nodes
        )


def share(nodes: tuple[Node, ...], settings: Settings, whole_gpu: bool = False) -> Share:
    """Each trial's share of these machines; `TuneAppError` where not even one fits, with what there is.

    GPUs "auto": as many trials share each as its memory and its machine's CPUs allow, or, where what a trial needs
    is unknown, a `whole_gpu` for each; 0 where there are none.
    """
    cpus = settings.cpus_per_trial
    auto = min(1.0, max((node.gpus for node in nodes), default=0.0)) if whole_gpu else gpus_for_each(nodes, cpus)
    gpus = auto if settings.gpus_per_trial == AUTO else float(settings.gpus_per_trial)
    for option, wanted, there in (
        ("--cpus-per-trial", cpus, max((node.cpus for node in nodes), default=0)),
        ("--gpus-per-trial", gpus, max((node.gpus for node in nodes), default=0)),
    ):
        if wanted > there:
            raise TuneAppError(f"{option} is {wanted:g}, allowed: up to the {there:g} that one machine has here")
    fits = Share(cpus, gpus, 0).fitting(nodes)
    if fits == 0:
        raise TuneAppError(f"no machine has {cpus:g} CPUs and {gpus:g} GPUs for a trial; there are {words(nodes)}")
    return Share(cpus, gpus, min(fits, settings.max_concurrent_trials or fits))


def gpus_for_each(nodes: tuple[Node, ...], cpus: float) -> float:
    """The part of a GPU that each trial holds, so that every GPU's memory and CPUs suffice; 0 without GPUs."""
    trials = [
        max(1, math.floor(min(node.cpus / node.gpus / cpus, node.gpu_bytes / GPU_BYTES_PER_TRIAL)))
        for node in nodes
        if node.gpus
    ]
    return 1 / min(trials) if trials else 0.0


def words(nodes: tuple[Node, ...]) -> str:
    """The machines in words: "2 CPUs and 1 GPU; 4 CPUs"."""
    return (
        "; ".join(f"{node.cpus:g} CPUs" + (f" and {node.gpus:g} GPUs" if node.gpus else "") for node in nodes)
        or "no machines"
    )


def share_of_cpus(settings: Settings) -> Share:
    """How many trials this machine's CPUs are enough for; its GPUs are counted by Ray. `TuneAppError` for none."""
    return share((Node(available_cpus(), 0),), settings.model_copy(update={"gpus_per_trial": 0.0}))


def available_cpus() -> int:
    """CPUs that this process may use, by affinity and, in a container, by its quota."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cpus, cpu_quota())))


def cpu_quota(groups: Path = Path("/sys/fs/cgroup")) -> float:
    """CPUs that a container's quota allows, by either version of control groups; infinite where there is none."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((groups / name).read_text() for name in names).split()
            return int(quota) / int(period) if quota not in ("max", "-1") else math.inf
        except (OSError, ValueError):  # of the other version
            continue
    return math.inf


def cluster_nodes() -> dict[str, Node]:
    """The living machines of the connected cluster, by Ray's id of the node."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {
        node["NodeID"]: Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in nodes
        if node["Alive"]
    }


def with_usable_gpus(
    nodes: dict[str, Node], settings: Settings, seconds: float, announce: Callable[[str], None]
) -> tuple[Node, ...]:
    """The machines as trials can use them: GPUs that torch cannot use, or that others hold, do not count."""
    if settings.gpus_per_trial == 0 or not any(node.gpus for node in nodes.values()):
        return tuple(nodes.values())
    memory = gpu_memory([name for name, node in nodes.items() if node.gpus], seconds, announce)
    usable = []
    for name, node in nodes.items():
        found = memory.get(name, math.inf)
        if isinstance(found, str):
            announce(f"Ray offers {node.gpus:g} GPU{'' if node.gpus == 1 else 's'} {found}; trials do without.")
            found, node = math.inf, replace(node, gpus=0)
        usable.append(replace(node, gpu_bytes=found))
    return tuple(usable)


def gpu_memory(nodes: Sequence[str], seconds: float, announce: Callable[[str], None]) -> dict[str, float | str]:
    """By node, the bytes of a GPU of it, or why trials cannot use it.

    If others hold all GPUs, the first to be free is waited for, up to `seconds`.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look(node: str) -> Any:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        probe = ray.remote(cuda_memory).options(num_cpus=0, num_gpus=0.001, scheduling_strategy=there)
        return probe.remote()

    looks = {node: look(node) for node in nodes}

    def pending(number: int, seconds: float) -> list[Any]:
        return ray.wait([*looks.values()], num_returns=number, timeout=seconds)[1]

    left = pending(len(looks), SECONDS_UNTOLD)
    if left:
        longest = max(seconds, SECONDS_TO_LOOK)
        announce(f"Waiting up to {longest:g} s for GPUs that others may hold.")
        left = pending(len(looks), SECONDS_TO_LOOK - SECONDS_UNTOLD)
    if len(left) == len(looks):
        left = pending(1, max(0, seconds - SECONDS_TO_LOOK))
    for one in left:
        ray.cancel(one)
    return {node: HELD if one in left else ray.get(one) or NO_CUDA for node, one in looks.items()}


def cuda_memory() -> float | None:
    """Bytes of this process's first GPU, None where torch finds none."""
    import torch

    if not torch.cuda.is_available():
        return None
    return float(torch.cuda.get_device_properties(0).total_memory)


def wait_for_resources(
    seconds: float, settings: Settings, announce: Callable[[str], None], whole_gpu: bool = False
) -> Share:
    """Each trial's share of the connected cluster, once one fits; `TuneAppError` after `seconds`."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        nodes = cluster_nodes()
        try:
            share(tuple(nodes.values()), settings, whole_gpu)
            break
        except TuneAppError as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                announce(f"Waiting up to {seconds:g} s for resources: {error}")
                told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return share(with_usable_gpus(nodes, settings, seconds, announce), settings, whole_gpu)
