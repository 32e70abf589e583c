"""What a lesson is made of, where its batches come from, and what stands in its process."""

import ast
import random
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Subset, TensorDataset

from tests.interrupted import TRAIN, VALID, layers, lesson_of
from tests.refused import refusal
from tune_app.task import Lesson, get_data, loop
from tune_app.task.loop.batches import pairs
from tune_app.task.loop.chance import SWITCHES, seeded, switches_put_back
from tune_app.task.loop.lesson import count_parameters, own_generators, place, train_mode

# ---- lessons -------------------------------------------------------------------------------------------


PLATEAU = ReduceLROnPlateau(torch.optim.SGD([torch.zeros(1)]))


@pytest.mark.parametrize(
    ("part", "given", "reason"),
    [
        ("model", 3, "model is of type int, allowed: a module or a function"),
        ("loss_func", "mse", "loss_func is of type str, allowed: a function or a module"),
        ("opt", object(), "opt is of type object, allowed: an optimizer with step() and zero_grad()"),
        ("train_dl", None, "train_dl is of type NoneType, allowed: batches with a length"),
        ("each_batch", 0.9, "each_batch is of type float, allowed: a schedule of torch"),
        ("each_batch", PLATEAU, "each_batch is of type ReduceLROnPlateau, allowed: a schedule that needs no valid"),
        ("keeps", [], "keeps is of type list, allowed: a dictionary"),
        ("keeps", {"rate": 3}, "keeps['rate'] is of type int, allowed: a tensor, a random generator, or what has"),
    ],
)
def test_a_part_of_another_kind_is_refused(part, given, reason):
    complete = vars(lesson_of(layers())) | {part: given}
    assert refusal(lambda: Lesson(**complete), kind=TypeError).startswith(reason)


@pytest.mark.parametrize("name", ["train_dl", "valid_dl"])
def test_a_loader_without_batches_is_refused(name):
    parts = vars(lesson_of(layers())) | {name: DataLoader(TRAIN, 100, drop_last=True)}
    assert refusal(lambda: Lesson(**parts), kind=ValueError) == f"{name} has no batches, allowed: one or more"


def test_parameters_are_counted_once_and_where_they_are_trained():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[1].bias.requires_grad_(False)
    keeps = {"more": torch.zeros(3, requires_grad=True), "no": torch.zeros(5), "same": model[0].weight}
    assert count_parameters(lesson_of(model, keeps=keeps)) == 16 + 3


def test_model_and_loss_are_moved_and_change_their_mode_together():
    model, loss_func = layers(), nn.CrossEntropyLoss(weight=torch.ones(3))
    lesson = lesson_of(model, loss_func=loss_func)
    place(lesson, "meta")
    train_mode(lesson, False)
    assert all(p.is_meta for p in model.parameters())
    assert isinstance(loss_func.weight, Tensor)
    assert loss_func.weight.is_meta
    assert (model.training, model[0].training, loss_func.training) == (False, False, False)


# ---- batches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bs", [1, 8, 70, 1000])
def test_training_batches_are_shuffled_and_validation_batches_twice_as_large(bs):
    train_dl, valid_dl = get_data(TRAIN, VALID, bs)
    for dl, ds, size in ((train_dl, TRAIN, bs), (valid_dl, VALID, 2 * bs)):
        batches = list(dl)
        assert len(dl) == len(batches) == -(-len(ds) // size)
        assert [len(yb) for _, yb in batches[:-1]] == [size] * (len(batches) - 1)
        x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert sorted(x[:, 0].tolist()) == sorted(ds.tensors[0][:, 0].tolist())
        assert torch.equal(x, ds.tensors[0]) == (ds is VALID)
        assert len(y) == len(ds)


def test_other_data_sets_have_a_loader_of_torch_and_a_batch_size_below_one_is_refused():
    train_dl, valid_dl = get_data(Subset(TRAIN, range(70)), Subset(VALID, range(30)), 8)
    assert isinstance(train_dl, DataLoader)
    assert (len(train_dl), len(valid_dl)) == (9, 2)
    with seeded(1):
        first = next(iter(train_dl))[0]
    with seeded(2):
        assert not torch.equal(next(iter(train_dl))[0], first)
    assert refusal(get_data, TRAIN, VALID, 0, kind=ValueError) == "bs is 0, allowed: 1 or more"


Pair = namedtuple("Pair", "left right")


def test_every_tensor_of_a_nest_is_moved():
    packed = pack_padded_sequence(torch.ones(2, 3, 1), [3, 2], batch_first=True)
    xb = {"a": [torch.ones(2), Pair(torch.ones(2), "text")], "b": (packed, 3)}
    ((moved, yb, n),) = pairs([(xb, [None, torch.ones(5)])], "train_dl", "meta")
    assert moved["a"][0].is_meta
    assert (type(moved["a"][1]), moved["a"][1].left.is_meta, moved["a"][1].right) == (Pair, True, "text")
    assert moved["b"][0].data.is_meta
    assert not moved["b"][0].batch_sizes.is_meta  # torch wants it on the CPU
    assert moved["b"][1] == 3
    assert yb[0] is None
    assert n == 5


# ---- chance --------------------------------------------------------------------------------------------


def drawn() -> tuple[float, float, float]:
    return torch.rand(1).item(), random.random(), np.random.random()


def test_a_seeded_block_draws_from_its_seed_and_leaves_no_trace():
    torch.manual_seed(5)
    expected = torch.rand(3)
    drawn()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)["state"]["key"]
    with seeded(5):
        assert torch.equal(torch.rand(3), expected)  # not mixed: as a level has always been built
        first = drawn()
    with pytest.raises(KeyError), seeded(5):
        torch.rand(3)
        assert drawn() == first
        raise KeyError
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], states[2])


def test_in_a_seeded_block_convolutions_on_a_gpu_add_up_in_one_order(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "benchmark", True)
    with pytest.raises(KeyError), seeded(5):
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        raise KeyError
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


def test_generators_are_found_where_loaders_and_modules_hold_them():
    model, of_loader, of_model = layers(), torch.Generator(), random.Random()
    of_data, kept = np.random.default_rng(), np.random.RandomState()
    model[1].own = of_model  # type: ignore[assignment]
    ds = TensorDataset(*TRAIN.tensors)
    ds.own = of_data  # type: ignore[attr-defined]
    dl = DataLoader(Subset(ds, range(8)), 4, shuffle=True, generator=of_loader)
    found = own_generators(lesson_of(model, dl, keeps={"own": kept}))
    assert {id(generator) for generator in found} == {id(g) for g in (of_loader, of_model, of_data, kept)}


@pytest.mark.parametrize(
    "change",
    [
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_device("meta"),
        lambda: torch.set_grad_enabled(False),
        lambda: torch.autograd.set_detect_anomaly(True),
        lambda: torch.set_autocast_cache_enabled(False),
        lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
        lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    ],
)
def test_switches_are_put_back(change):
    def switches() -> list[Any]:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        return [*(read() for read, _ in SWITCHES), cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32]

    before = switches()
    with switches_put_back():
        change()
        assert switches() != before
    assert switches() == before
    assert torch.ones(1).device.type == "cpu"


# ---- the folder is copied into bundles -----------------------------------------------------------------


def test_the_loop_needs_nothing_else_of_this_package():
    allowed = {"torch", "numpy", "safetensors"} | sys.stdlib_module_names
    for file in Path(loop.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
            if isinstance(node, ast.ImportFrom):
                name = (node.module or "").partition(".")[0]
                assert name in allowed if node.level == 0 else node.level == 1
