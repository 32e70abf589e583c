"""The machine as a training finds it: what its numbers depend on besides config and data."""

import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tune_app.version import VERSION

PACKAGES = ("torch", "ray", "optuna", "numpy")


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide what is computed."""
    ours = {"python": platform.python_version(), "tune_app": VERSION}
    return ours | {name: installed(name) for name in PACKAGES}


installed = cache(version)
"""The version of an installed package; it is looked up in a file of kilobytes, so once."""


def cpu_model() -> str:
    """The processor: its name, family, model and widest vectors. Another one rounds differently.

    The name alone does not tell: on a virtual machine it may be "AMD EPYC" for any of them.
    """
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in first.splitlines())
    said = {name.strip(): value.strip() for name, _, value in pairs}
    if "model name" not in said:
        return platform.machine()
    flags = said.get("flags", "").split()
    vectors = next((f", {name}" for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return f"{said['model name']} (family {said.get('cpu family')}, model {said.get('model')}{vectors})"


def process(device: str, threads: int) -> dict[str, Any]:
    """This process as the record knows a worker: where it runs, and what its float32 results depend on."""
    return {
        "node": platform.node(),
        "pid": os.getpid(),
        "cpu": cpu_model(),
        "threads": threads,
        "device": device,
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES") if device == "cuda" else None,
    }
