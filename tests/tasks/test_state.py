"""A training's state as bytes: everything comes back, whatever it is made of, and nothing is pickled."""

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler, swa_utils

from tests.interrupted import built, goes_on_exactly, layers, lesson_of, outcomes
from tests.refused import refusal
from tune_app.task import Lesson
from tune_app.task.loop.state import load, packed, read, save, weights

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- every optimizer and every schedule of torch -------------------------------------------------------


def on_matrices(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.dim() == 2]


OPTIMIZERS: dict[str, Any] = {
    name: lambda model, kind=kind: kind(
        on_matrices(model) if kind is torch.optim.Muon else model.parameters(), lr=0.01
    )
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    if name not in ("Optimizer", "SparseAdam", "LBFGS")
} | {
    "Adam with amsgrad": lambda model: torch.optim.Adam(model.parameters(), 0.01, amsgrad=True),
    "RMSprop, centered": lambda model: torch.optim.RMSprop(model.parameters(), 0.01, momentum=0.9, centered=True),
    "Adam, the rate a tensor": lambda model: torch.optim.Adam(model.parameters(), torch.tensor(0.01)),
    "two groups": lambda model: torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[4].parameters()}], 0.1, momentum=0.9
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_torch_goes_on_exactly(name):
    def build() -> Lesson:
        model = layers()
        return lesson_of(model, opt=OPTIMIZERS[name](model))

    goes_on_exactly(build, {}, epochs=1, per=3)


def test_lbfgs_goes_on_exactly():
    def build() -> Lesson:
        model = layers()
        opt = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3, history_size=4)

        def step(xb: Tensor, yb: Tensor) -> Tensor:
            def closure() -> Tensor:
                opt.zero_grad()
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                return loss

            return opt.step(closure)

        return lesson_of(model, opt=opt, step=step)

    goes_on_exactly(build, {}, epochs=2, per=2)


SCHEDULES: dict[str, Any] = {
    "MultiStepLR": lambda opt: lr_scheduler.MultiStepLR(opt, [2, 3, 3, 5], 0.5),
    "PolynomialLR": lambda opt: lr_scheduler.PolynomialLR(opt, 5),
    "LambdaLR": lambda opt: lr_scheduler.LambdaLR(opt, lambda step: 1 / (1 + step)),
    "CosineAnnealingWarmRestarts": lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 3),
    "CyclicLR": lambda opt: lr_scheduler.CyclicLR(opt, 0.01, 0.1, step_size_up=2, scale_fn=lambda x: 1 / (x + 1)),
    "OneCycleLR": lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=12),
    "SequentialLR": lambda opt: lr_scheduler.SequentialLR(
        opt, [lr_scheduler.LinearLR(opt, total_iters=2), lr_scheduler.CosineAnnealingLR(opt, 4)], [2]
    ),
    "ChainedScheduler": lambda opt: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(opt, total_iters=2), lr_scheduler.ExponentialLR(opt, 0.9)]
    ),
    "SWALR": lambda opt: swa_utils.SWALR(opt, 0.01, anneal_epochs=4),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_of_torch_goes_on_exactly(name):
    def build() -> Lesson:
        model = nn.Linear(6, 3)
        opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        return lesson_of(model, opt=opt, each_batch=SCHEDULES[name](opt))

    goes_on_exactly(build, {}, epochs=1, per=3)


# ---- what a state can be made of -----------------------------------------------------------------------


class Held:
    """An object with a state of any kind."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 2**127 + 1, 0.1, float("inf"), "text", {}, [], ()),
        [1, [2.0, None]],
        (1, (2, "3")),
        {"a": 1, 1: "a", (1, 2): {}, None: []},
        {"tensor": "no tensor", "dict": []},
        Counter({1: 2, 3: 4}),
        {1, "2", (3, 4)},
        *(np.arange(3, dtype=np.uint32), np.float32(0.1), np.bool_(True), np.int64(3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back_as_it_was(value):
    back = read(packed({"keeps.it": value}))["keeps.it"]
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value
    assert type(back) is type(value)
    assert getattr(back, "dtype", None) == getattr(value, "dtype", None)
    if isinstance(value, dict):
        assert {type(key) for key in back} == {type(key) for key in value}


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(0.5),
        torch.empty(0, 3),
        torch.ones(2, 3, dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.arange(3, dtype=torch.uint8),
        torch.tensor([1 + 2j]),
        torch.tensor([float("nan"), -0.0]),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(3, 4).t(),
        torch.randn(8)[::2],
        torch.randn(3, 1).expand(3, 4),
        nn.Parameter(torch.ones(2)),
    ],
    ids=lambda tensor: f"{tensor.dtype}, {tuple(tensor.shape)}, {tensor.stride()}",
)
def test_a_tensor_comes_back_as_it_was(tensor):
    back = read(packed({"keeps.it": tensor}))["keeps.it"]
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(back.isnan(), tensor.isnan())
    assert torch.equal(torch.nan_to_num(back), torch.nan_to_num(tensor))
    if 0 not in tensor.stride():
        assert back.stride() == tensor.stride()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda: None, "keeps.it is a function, which cannot be kept; allowed: tensors,"),
        ({"a": [object()]}, "keeps.it.a.0 is a object, which"),
        (1j, "keeps.it is a complex, which"),
        (torch.eye(2).to_sparse(), "keeps.it is torch.sparse_coo torch.float32, allowed: a dense tensor"),
        (torch.ones(1, dtype=torch.complex128), "keeps.it is torch.strided torch.complex128, allowed:"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_is_refused(value, reason):
    assert refusal(packed, {"keeps.it": value}, kind=ValueError).startswith(reason)


def test_a_lazy_layer_is_kept_after_its_first_batch_and_not_before():
    lesson = lesson_of(nn.LazyLinear(3))
    line = refusal(save, lesson, kind=ValueError)
    assert line == "model.weight has no shape before the first batch, allowed: a state after it"
    assert len(outcomes(lesson, {}, 1, 1)) == 1


# ---- sharing -------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(300, 300, bias=False), nn.Linear(300, 300, bias=False)
        self.second.weight = self.first.weight


def test_tied_weights_are_kept_once_and_have_both_names():
    saved = save(lesson_of(Tied()))
    assert 300 * 300 * 4 < len(saved) < 300 * 300 * 4 + 2000
    found = weights(saved)
    assert list(found) == ["model.first.weight", "model.second.weight"]
    assert found["model.first.weight"] is found["model.second.weight"]


def test_tensors_that_overlap_are_kept_apart():
    whole = torch.arange(6.0)
    views = {"all": whole, "as rows": whole.view(2, 3), "end": whole[2:], "middle": whole[1:4]}
    back = read(packed({"keeps.it": views}))["keeps.it"]
    assert all(torch.equal(back[name], view) for name, view in views.items())


def test_names_that_only_differ_by_their_dots_are_told_apart():
    values = {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}, 1: torch.ones(2), "1": torch.zeros(2)}
    back = read(packed({"keeps.it": values}))["keeps.it"]
    assert (back["a.b"].item(), back["a"]["b"].item()) == (1, 0)
    assert (back[1].sum().item(), back["1"].sum().item()) == (2, 0)


# ---- bytes ---------------------------------------------------------------------------------------------


def trained() -> Lesson:
    model = layers()
    opt = torch.optim.Adam(model.parameters(), 0.01)
    keeps = {"held": Held({1: (2, 3)}), "bias": torch.ones(2, requires_grad=True)}
    lesson = lesson_of(model, opt=opt, each_batch=lr_scheduler.ExponentialLR(opt, 0.9), keeps=keeps)
    outcomes(lesson, {}, 1, 1)
    return lesson


def test_the_same_state_gives_the_same_bytes_and_another_gives_others():
    lesson = built(trained)
    saved = save(lesson)
    assert save(lesson) == saved == save(built(trained))
    fresh = built(trained)
    load(fresh, saved)
    assert save(fresh) == saved
    with torch.no_grad():
        next(iter(lesson.model.parameters()))[0, 0] += 1e-6  # type: ignore[attr-defined]
    assert save(lesson) != saved
    assert packed({"a": {1: 2, "3": 4}}) == packed({"a": {"3": 4, 1: 2}})


def test_weights_are_the_tensors_of_the_model_and_of_what_is_kept():
    lesson = built(trained)
    found = weights(save(lesson))
    own = {f"model.{name}": tensor for name, tensor in lesson.model.state_dict().items()}  # type: ignore[attr-defined]
    assert found.keys() == own.keys() | {"keeps.bias"}
    assert all(torch.equal(found[name], tensor) for name, tensor in own.items())


def test_a_state_is_a_copy():
    lesson = built(trained)
    saved, same = save(lesson), save(lesson)
    weights(saved)["keeps.bias"] += 1
    outcomes(lesson, {}, 1, 1)
    assert saved == same


def test_nothing_is_pickled(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pickled")

    lesson = built(trained)
    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    load(lesson, save(lesson))


# ---- states that do not fit ----------------------------------------------------------------------------


def test_the_state_of_another_lesson_is_refused():
    saved = save(lesson_of(nn.Linear(6, 2)))
    other = lesson_of(nn.Linear(6, 2), keeps={"bias": torch.zeros(2)})
    line = refusal(load, other, saved, kind=ValueError)
    assert line == "the state has model, opt, allowed: that of this lesson, model, opt, keeps.bias"
