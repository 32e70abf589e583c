"""The loop that trains any lesson: exact when it goes on, clear when a lesson is wrong, alone in its process."""

import inspect
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from tests.interrupted import (
    METRICS,
    SEED,
    TRAIN,
    VALID,
    accuracy,
    built,
    goes_on_exactly,
    layers,
    lesson_of,
    outcomes,
    resumed,
)
from tests.refused import refusal
from tune_app.task import Lesson, fit, get_data
from tune_app.task.loop.fit import train
from tune_app.task.loop.measure import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- exactness: lessons that go on exactly -------------------------------------------------------------


def dropout_and_one_cycle() -> Lesson:
    model = layers(0.3)
    opt = torch.optim.AdamW(model.parameters(), 0.01)
    return lesson_of(model, opt=opt, each_batch=OneCycleLR(opt, 0.01, total_steps=27))


def multi_step() -> Lesson:
    model = layers()
    opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return lesson_of(model, opt=opt, each_epoch=MultiStepLR(opt, [1, 2], 0.5))


def plateau() -> Lesson:
    model = layers()
    opt = torch.optim.SGD(model.parameters(), 1.0, momentum=0.9)
    return lesson_of(model, opt=opt, each_epoch=ReduceLROnPlateau(opt, patience=0, threshold=0.5))


class Augmented(TensorDataset):
    """Items that are changed by the random numbers of three libraries, and of a generator of its own."""

    def __init__(self, ds: TensorDataset) -> None:
        super().__init__(*ds.tensors)
        self.own = np.random.default_rng(1)

    def __getitem__(self, i: int) -> Any:
        x, y = super().__getitem__(i)
        x = x * random.uniform(0.5, 2) + np.random.normal() / 10 + torch.randn(6) / 10
        return (x + self.own.normal() / 10).float(), int(y)


def augmented(workers: int = 0, **more: Any) -> Lesson:
    dl = DataLoader(Augmented(TRAIN), 8, shuffle=True, num_workers=workers, **more)
    return lesson_of(layers(0.2), dl, valid_dl=DataLoader(Augmented(VALID), 16))


def persistent_workers() -> Lesson:
    lesson = augmented(2, persistent_workers=True)
    next(iter(lesson.train_dl))  # as someone may who wants to see a batch
    return lesson


def workers_that_validate() -> Lesson:
    dl = DataLoader(Augmented(VALID), 16, num_workers=1, persistent_workers=True)
    return lesson_of(layers(), valid_dl=dl)


def generator_of_the_loader() -> Lesson:
    return augmented(generator=torch.Generator().manual_seed(3))


def generator_of_a_sampler() -> Lesson:
    sampler = RandomSampler(TRAIN, replacement=True, generator=torch.Generator().manual_seed(3))
    return lesson_of(layers(0.2), DataLoader(TRAIN, 8, sampler=sampler))


class Noisy(nn.Sequential):
    """It draws while it trains and while it validates, also from a generator of its own."""

    def __init__(self) -> None:
        super().__init__(*layers())
        self.own = torch.Generator()

    def forward(self, xb: Tensor) -> Tensor:
        noise = torch.randn_like(xb) + torch.randn(xb.shape, generator=self.own)
        return super().forward(xb + noise / 10)


def draws_while_it_validates() -> Lesson:
    return lesson_of(Noisy())


def generator_in_a_closure() -> Lesson:
    own, inner = np.random.RandomState(1), layers()

    def model(xb: Tensor) -> Tensor:
        return inner(xb + torch.tensor(own.normal(size=xb.shape), dtype=torch.float32) / 10)

    opt = torch.optim.SGD(inner.parameters(), 0.1, momentum=0.9)
    return lesson_of(model, opt=opt, keeps={"own": own, "inner": inner})


def lazy_layers() -> Lesson:
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Tanh(), nn.Dropout(0.2), nn.LazyLinear(3))
    return lesson_of(model, opt=torch.optim.Adam(model.parameters(), 0.01))


def a_loss_that_learns() -> Lesson:
    class Margins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.margins = nn.Parameter(torch.zeros(3))

        def forward(self, out: Tensor, yb: Tensor) -> Tensor:
            return F.cross_entropy(out + self.margins, yb)

    model, loss_func = layers(), Margins()
    opt = torch.optim.SGD([*model.parameters(), *loss_func.parameters()], 0.1, momentum=0.9)
    return lesson_of(model, opt=opt, loss_func=loss_func)


def nests() -> Lesson:
    class Model(nn.Sequential):
        def forward(self, xb: Any) -> Any:
            out = super().forward(torch.cat([xb["left"], xb["right"][0]], 1))
            return {"out": out, "scale": torch.tensor(2.0)}

    def nested(ds: TensorDataset) -> Any:
        return [
            ({"left": x[:3], "right": [x[3:], "a name"]}, (y, {"again": y}))
            for x, y in zip(*ds.tensors, strict=True)
        ]

    train_dl, valid_dl = get_data(nested(TRAIN), nested(VALID), 8)
    return lesson_of(
        Model(*layers()), train_dl, valid_dl=valid_dl, loss_func=lambda out, yb: F.cross_entropy(out["out"], yb[0])
    )


EXACT = [
    build
    for build in list(globals().values())
    if inspect.isfunction(build) and build.__module__ == __name__
    if build.__annotations__.get("return") is Lesson
]
assert len(EXACT) == 13
"""None goes on exactly without something of its own: a part of the state, a generator seeded anew, new workers."""


def in_a_nest(out: Any, yb: Any) -> Tensor:
    return accuracy(out["out"], yb[1]["again"])


def on_everything(out: Any, yb: Any) -> Tensor:
    assert len(out["out"]) == len(yb[0]) == 30
    return in_a_nest(out, yb).float().mean() + out["scale"].sum()


@pytest.mark.parametrize("build", EXACT, ids=lambda build: build.__name__)
def test_a_training_goes_on_exactly_from_every_result(build):
    metrics = {"valid_all": on_everything, "valid_accuracy": in_a_nest} if build is nests else METRICS
    per = 1 if build in (persistent_workers, workers_that_validate) else 3  # each reading starts processes
    full = goes_on_exactly(build, metrics, epochs=3 if build in (multi_step, plateau) else 2, per=per)
    assert len({saved for _, saved in full}) == len(full)


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_training_goes_on_exactly(data):
    """Tasks are drawn, and one kill each."""
    draw = data.draw
    optimizer = draw(st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "Adadelta"]))
    norm = draw(st.sampled_from([nn.BatchNorm1d, nn.LayerNorm, nn.Identity]))
    dropout, bs = draw(st.sampled_from([0.0, 0.4])), draw(st.integers(5, 20))
    schedule = draw(st.sampled_from([None, "each_batch", "each_epoch"]))
    augment, own, workers = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([0, 0, 1, 2]))
    per, epochs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    k = draw(st.integers(0, epochs * per - 1))

    def build() -> Lesson:
        generator = torch.Generator() if own else None
        augmented = DataLoader(Augmented(TRAIN), bs, shuffle=True, num_workers=workers, generator=generator)
        train_dl = augmented if augment else get_data(TRAIN, VALID, bs)[0]
        model = nn.Sequential(nn.Linear(6, 8), norm(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))
        opt = getattr(torch.optim, optimizer)(model.parameters(), lr=0.01)
        schedules = {schedule: StepLR(opt, 2, 0.5)} if schedule else {}
        return lesson_of(model, train_dl, opt=opt, **schedules)

    full = outcomes(built(build), METRICS, epochs, per)
    assert resumed(build, METRICS, epochs, per, k, full) == full[k:]


@pytest.mark.parametrize(
    "build", [draws_while_it_validates, workers_that_validate], ids=lambda build: build.__name__
)
def test_every_validation_draws_the_same_numbers(build):
    lesson = built(build)
    first, second = (evaluate(lesson, METRICS).loss for _ in range(2))
    assert first == second


# ---- the loop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_an_epochs_order_is_drawn_from_seed_and_epoch_alone(seed):
    def order(epoch: int) -> Tensor:  # as it was before the loop was one for any lesson
        (mixed,) = np.random.SeedSequence((seed, epoch)).generate_state(1)
        return torch.randperm(len(TRAIN), generator=torch.Generator().manual_seed(int(mixed)))

    seen: list[Tensor] = []
    weights = torch.zeros(6, 3, requires_grad=True)

    def model(xb: Tensor) -> Tensor:
        seen.append(xb)
        return xb @ weights

    lesson = lesson_of(model, opt=torch.optim.SGD([weights], 0.1))
    for epoch, _ in enumerate(train(lesson, 3, seed=seed, metrics={}, results_per_epoch=1)):
        expected = [TRAIN[indices][0] for indices in torch.split(order(epoch), 8)]
        assert len(seen) == len(expected) + 2
        assert all(map(torch.equal, seen, expected))
        seen.clear()


def test_results_are_due_after_equal_parts_of_an_epoch():
    lesson = built(multi_step)
    results = list(train(lesson, 1.5, seed=SEED, metrics=METRICS, results_per_epoch=4))
    assert [r.items for r in results] == [24, 16, 16, 14, 24, 16]
    assert [r.epoch for r in results] == [0.25, 0.5, 0.75, 1, 1.25, 1.5]
    assert [r.k for r in results] == [1, 2, 3, 4, 5, 6]
    assert {r.parameters for r in results} == {6 * 8 + 8 + 8 + 8 + 8 * 3 + 3}
    assert all(r.train_seconds > 0 and r.valid_seconds > 0 for r in results)
    assert [list(r.valid) for r in results] == [["valid_accuracy", "valid_loss"]] * 6


def test_results_in_between_do_not_change_a_training_that_draws_nothing():
    often, seldom = (outcomes(built(multi_step), METRICS, 2, per) for per in (3, 1))
    assert [saved for _, saved in often[2::3]] == [saved for _, saved in seldom]


def test_schedules_are_stepped_after_batches_and_epochs():
    model = layers()
    opt = torch.optim.SGD(model.parameters(), 1.0)
    each_batch, each_epoch = StepLR(opt, 1000), StepLR(opt, 1000)
    lesson = lesson_of(model, opt=opt, each_batch=each_batch, each_epoch=each_epoch)
    steps = [
        (each_batch.last_epoch, each_epoch.last_epoch)
        for _ in train(lesson, 2, seed=0, metrics={}, results_per_epoch=3)
    ]
    assert steps == [(3, 0), (6, 0), (9, 1), (12, 1), (15, 1), (18, 2)]


def test_the_plateau_is_told_the_valid_loss():
    lesson = built(plateau)
    losses = [m.valid["valid_loss"] for m in train(lesson, 2, seed=0, metrics={}, results_per_epoch=2)]
    assert isinstance(lesson.each_epoch, ReduceLROnPlateau)
    assert lesson.each_epoch.best == min(losses[1::2])


def test_a_model_is_in_train_mode_for_training_and_in_eval_mode_for_validation():
    modes: list[tuple[bool, bool]] = []
    model = layers()
    model.register_forward_hook(lambda *_: modes.append((model.training, torch.is_grad_enabled())))
    model.eval()
    list(train(lesson_of(model), 2, seed=0, metrics={}))
    assert modes == [*[(True, True)] * 9, *[(False, False)] * 2] * 2
    assert model.training


def test_fit_prints_a_line_an_epoch(capsys):
    fit(built(multi_step), 2, seed=SEED, metrics=[accuracy], device="cpu")
    found = outcomes(built(multi_step), METRICS, 2, 1)
    assert capsys.readouterr().out.splitlines() == [
        f"epoch {k}: accuracy {m.valid['valid_accuracy']:.4f}, valid loss {m.valid['valid_loss']:.4f}"
        for k, (m, _) in enumerate(found, 1)
    ]


# ---- what a lesson must not do -------------------------------------------------------------------------


def error_of(kind: type[Exception], **more: Any) -> str:
    model, per = more.pop("model", None) or layers(), more.pop("per", 1)
    results = train(lesson_of(model, **more), 1, seed=0, metrics={}, results_per_epoch=per)
    return refusal(list, results, kind=kind)


def test_fewer_batches_than_results_are_refused():
    assert error_of(ValueError, per=10) == (
        "an epoch has 9 batches, fewer than the 10 results per epoch asked for;"
        " allowed: a smaller bs or fewer results per epoch"
    )


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (lambda out, yb: F.cross_entropy(out, yb, reduction="none"), "of shape (8,)"),
        (lambda out, yb: "good", "of type str"),
        (lambda out, yb: None, "of type NoneType"),
    ],
)
@pytest.mark.parametrize("source", ["loss_func", "step"])
def test_a_loss_that_is_not_one_number_is_refused(loss, kind, source):
    model = layers()
    more = {"loss_func": loss} if source == "loss_func" else {"step": lambda xb, yb: loss(model(xb), yb)}
    expected = f"{source} gave a loss {kind}, allowed: one number, the mean over the batch"
    assert error_of(ValueError, model=model, **more) == expected


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ((torch.ones(2, 6), torch.ones(2), torch.ones(2)), "a batch of train_dl is a tuple of 3, allowed: a pair"),
        (torch.ones(2, 6), "a batch of train_dl is a Tensor, allowed: a pair (xb, yb)"),
        ((torch.ones(2, 6), ["a", "b"]), "yb of train_dl is a list of 2, allowed: a tensor (n, ...) or a nest"),
        ((torch.ones(2, 6), torch.tensor(1)), "yb of train_dl is a Tensor, allowed: a tensor (n, ...) or a nest"),
    ],
)
def test_a_batch_that_is_no_pair_is_refused(batch, reason):
    assert error_of(TypeError, train_dl=[batch]).startswith(reason)


@pytest.mark.parametrize("name", ["train_dl", "valid_dl"])
def test_a_loader_that_ends_early_is_refused(name):
    class Early(list[Any]):
        def __len__(self) -> int:
            return 4

    assert f"{name} " in error_of(ValueError, **{name: Early()})
