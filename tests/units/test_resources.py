"""CPUs that a container's control groups allow: the smallest quota on the way from one's own group to the root."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tune_app.cluster.resources import available_cpus, cpu_quota

CPU_GROUPS = Path("/sys/fs/cgroup/cpu")


def fake(folder: Path, group: str, mount: str, files: Mapping[str, str]) -> Path:
    """What /proc says of a process, with a mount of control groups below `folder` that holds these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    process = folder / "proc"
    process.mkdir()
    (process / "cgroup").write_text(f"12:memory:/elsewhere\n{group}\n")
    (process / "mountinfo").write_text(
        f"22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw\n31 22 0:28 {mount.format(folder=folder)}\n"
    )
    return process


V2 = "/ {folder}/v2 rw,nosuid - cgroup2 cgroup2 rw"
V1 = "/ {folder}/v1 rw,nosuid shared:4 master:1 - cgroup cgroup rw,cpu,cpuacct"


@pytest.mark.parametrize(
    ("group", "mount", "files", "quota"),
    [
        ("0::/", V2, {"v2/cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b", V2, {"v2/a/b/cpu.max": "max 100000\n", "v2/a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b", V2, {"v2/a/b/cpu.max": "50000 100000\n", "v2/a/cpu.max": "400000 100000\n"}, 0.5),
        ("0::/gone", V2, {"v2/cpu.max": "300000 100000\n"}, 3),
        ("0::/../other", V2, {"v2/cpu.max": "300000 100000\n"}, 3),
        ("4:cpu,cpuacct:/", V1, {"v1/cpu.cfs_quota_us": "-1\n", "v1/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("4:cpu,cpuacct:/j", V1, {"v1/j/cpu.cfs_quota_us": "200000", "v1/j/cpu.cfs_period_us": "100000"}, 2),
        (  # a container that sees its own group alone, as Docker mounts it
            "4:cpuacct,cpu:/docker/1f/inner",
            V1.replace("/ {folder}", "/docker/1f {folder}"),
            {"v1/inner/cpu.cfs_quota_us": "-1", "v1/inner/cpu.cfs_period_us": "100000"}
            | {"v1/cpu.cfs_quota_us": "100000", "v1/cpu.cfs_period_us": "100000"},
            1,
        ),
        ("3:cpuset:/j", V1, {"v1/j/cpu.cfs_quota_us": "200000", "v1/j/cpu.cfs_period_us": "100000"}, math.inf),
    ],
)
def test_the_smallest_quota_up_to_the_root_counts(tmp_path, group, mount, files, quota) -> None:
    assert cpu_quota(fake(tmp_path, group, mount, files)) == quota


def test_where_nothing_is_said_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "nothing") == math.inf
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))


@pytest.fixture
def group() -> Iterator[Path]:
    """A real control group of version 1, with one below it."""
    folder = CPU_GROUPS / f"tune-app-test-{os.getpid()}"
    try:
        (folder / "inner").mkdir(parents=True)
        (folder / "cpu.cfs_quota_us").write_text("100000")
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made: {error}")
    try:
        yield folder / "inner"
    finally:
        (folder / "inner").rmdir()
        folder.rmdir()


def test_a_process_in_a_real_group_below_one_with_a_quota_has_one_cpu(group: Path) -> None:
    code = "from tune_app.cluster.resources import available_cpus, cpu_quota; print(cpu_quota(), available_cpus())"
    into = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    command = ["sh", "-c", into, "sh", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "1"]
