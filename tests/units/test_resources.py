"""What trials may have: CPUs that control groups allow, and GPUs by what a look at them has found."""

import math
from pathlib import Path

import pytest

from tune_app.cluster import resources
from tune_app.cluster.resources import HELD, NO_CUDA, Node, cpu_quota, share, with_usable_gpus
from tune_app.errors import TuneAppError
from tune_app.experiment.settings import Settings


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


NODES = {name: Node(cpus=8, gpus=1) for name in "ab"}
BUSY = "Ray offers 1 GPU that others hold; trials do without."
NO_TORCH = "Ray offers 1 GPU that torch cannot use (no CUDA); trials do without."


@pytest.mark.parametrize(
    ("wanted", "found", "gpus", "at_once", "told"),
    [
        ("auto", {"a": 8e9, "b": 6e9}, 1 / 3, 6, []),
        ("auto", {"a": 8e9, "b": HELD}, 1 / 4, 4, [BUSY]),
        (0.5, {"a": NO_CUDA, "b": 8e9}, 0.5, 2, [NO_TORCH]),
        ("auto", {"a": HELD, "b": NO_CUDA}, 0, 16, [BUSY, NO_TORCH]),
        (0, {}, 0, 16, []),
    ],
)
def test_gpus_that_trials_cannot_use_do_not_count(monkeypatch, wanted, found, gpus, at_once, told) -> None:
    monkeypatch.setattr(resources, "gpu_memory", lambda *_: found)
    settings = Settings.model_validate({"gpus_per_trial": wanted})
    announced: list[str] = []
    each = share(with_usable_gpus(NODES, settings, 0, announced.append), settings)
    assert each.gpus == pytest.approx(gpus)
    assert (each.at_once, announced) == (at_once, told)


def test_gpus_that_are_asked_for_by_number_and_cannot_be_had_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(resources, "gpu_memory", lambda *_: {"a": HELD, "b": NO_CUDA})
    settings = Settings(gpus_per_trial=1)
    with pytest.raises(TuneAppError, match=r"^--gpus-per-trial is 1, allowed: up to the 0 that one machine"):
        share(with_usable_gpus(NODES, settings, 0, print), settings)


@pytest.mark.parametrize(
    ("wanted", "nodes", "gpus", "at_once"),
    [
        ("auto", (Node(8, 1, 80e9), Node(8, 2, 80e9)), 1, 3),
        (0.25, (Node(8, 1, 80e9),), 0.25, 4),
        (0, (Node(8, 1, 80e9),), 0, 8),
        ("auto", (Node(8, 0),), 0, 8),
    ],
)
def test_a_trial_of_which_nobody_knows_what_it_needs_has_a_whole_gpu_unless_told_otherwise(
    wanted: object, nodes: tuple[Node, ...], gpus: float, at_once: int
) -> None:
    each = share(nodes, Settings.model_validate({"gpus_per_trial": wanted}), whole_gpu=True)
    assert (each.gpus, each.at_once) == (gpus, at_once)
