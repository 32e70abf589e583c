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
    """The processor's name: another model rounds differently."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


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


def umask() -> int:
    """The person's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
