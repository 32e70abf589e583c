"""CPUs that the control groups of a container allow."""

import math
import os
from pathlib import Path

import pytest

from tune_app.cluster.resources import available_cpus, cpu_quota


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
    ],
)
def test_the_quota_of_either_version_counts(tmp_path: Path, files: dict[str, str], quota: float) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert cpu_quota(tmp_path) == quota


def test_there_is_a_cpu_and_none_that_this_process_may_not_use() -> None:
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))
