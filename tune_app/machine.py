"""The machine as a training finds it: what its numbers depend on besides config and data."""

import os
import platform
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tune_app.version import VERSION

LOADED = time.monotonic()
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


def process(device: str, threads: int, start_seconds: float) -> dict[str, Any]:
    """This process as the record knows a worker: where it runs, and what its float32 results depend on.

    start_seconds: from its beginning until it could train.
    """
    return {
        "node": platform.node(),
        "pid": os.getpid(),
        "cpu": cpu_model(),
        "threads": threads,
        "device": device,
        "start_seconds": start_seconds,
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES") if device == "cuda" else None,
    }


def seconds_running() -> float:
    """How long this process has been running; where the system does not say, since this module was loaded."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # clock ticks after boot
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK"))
    except OSError:
        return time.monotonic() - LOADED
