"""What a lesson is measured by: exact sums, metrics of the right shape, and the loss of each item."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.interrupted import VALID, accuracy, layers, lesson_of
from tests.refused import refusal
from tune_app.task import Lesson
from tune_app.task.loop import measure
from tune_app.task.loop.measure import evaluate

X, Y = VALID.tensors


def constant(out: Tensor, model: Any = None, loss_func: Any = F.cross_entropy) -> Lesson:
    """A lesson whose model gives these rows, in this order, for the valid data; or another model of them."""
    ds = TensorDataset(out, Y)
    weight = torch.zeros(1, requires_grad=True)
    opt = torch.optim.SGD([weight], 0.1)
    dl = [ds[:16], ds[16:]]
    return Lesson(model or (lambda xb: xb + weight), loss_func, opt, dl, dl)


OUT = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))


def value(metric: Any, lesson: Lesson | None = None) -> float:
    return evaluate(lesson or constant(OUT), {"valid_it": metric}).mean("valid_it")


# ---- metrics -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (accuracy, int((OUT.argmax(1) == Y).sum()) / 30),
        (lambda out, yb: torch.full((len(yb),), 2**48 + 1), 2**48 + 1),
        (lambda out, yb: out[:, 0], OUT[:, 0].double().numpy().sum() / 30),
        (lambda out, yb: out[:, 0].numpy() > 0, int((OUT[:, 0] > 0).sum()) / 30),
    ],
    ids=["truths", "whole numbers", "fractions", "an array"],
)
def test_values_of_items_are_summed_exactly(metric, expected):
    assert value(metric) == expected


def r2(out: Tensor, yb: Tensor) -> Tensor:
    return 1 - F.mse_loss(out[:, 0], yb.float()) / yb.float().var(correction=0)


def test_a_metric_of_one_number_sees_everything_once():
    seen: list[int] = []
    assert value(lambda out, yb: (seen.append(len(out)), r2(out, yb))[1]) == r2(OUT, Y).item()
    assert seen == [16, 30]  # the first batch, to see what it gives; then everything


@pytest.mark.parametrize("number", [3, 0.1, np.float64(0.1), torch.tensor(0.25), np.array(0.1)], ids=repr)
def test_one_number_may_be_of_any_kind(number):
    assert value(lambda out, yb: number) == float(number)


def test_a_metric_that_fails_on_a_batch_is_asked_about_everything():
    def needs_all(out: Tensor, yb: Tensor) -> float:
        if len(yb) < 30:
            raise RuntimeError("a class is missing")
        return 0.5

    assert value(needs_all) == 0.5


@pytest.mark.parametrize(
    ("metric", "shape", "n"),
    [
        (lambda out, yb: out[:, :1] == yb, (16, 16), 16),  # (n, 1) against (n,)
        (lambda out, yb: out[:, :1], (16, 1), 16),
        (lambda out, yb: out[1:, 0], (15,), 16),
        (lambda out, yb: torch.zeros(3) if len(yb) == 30 else 0.0, (3,), 30),
        (lambda out, yb: out[:, 0] if len(yb) == 16 else out[:, 0].mean(), (), 14),
    ],
)
def test_a_metric_of_another_shape_is_refused(metric, shape, n):
    def precision(out: Tensor, yb: Tensor) -> Any:
        return metric(out, yb)

    assert refusal(value, precision, kind=ValueError) == (
        f"the metric precision gave the shape {shape} for {n} items,"
        f" allowed: ({n},), a value for each item, or one number for all of them"
    )


def test_metrics_are_in_the_order_in_which_they_were_given():
    metrics = {"b": lambda out, yb: 1.0, "a": accuracy, "c": lambda out, yb: 2.0}
    assert list(evaluate(constant(OUT), metrics).values) == ["b", "a", "c"]


# ---- the loss ------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_all_items_however_short_the_last_batch():
    found = evaluate(constant(OUT), {})
    each = F.cross_entropy(OUT, Y, reduction="none").double().numpy()
    assert found.loss == pytest.approx(each.mean(), rel=1e-6)
    assert found.losses is None
    unweighted = (each[:16].mean() + each[16:].mean()) / 2
    assert abs(found.loss - unweighted) > 1e-4


@pytest.mark.parametrize(
    "loss_func",
    [
        lambda out, yb: F.cross_entropy(out, yb, reduction="sum"),
        lambda out, yb: F.cross_entropy(out, yb) + (out - out.mean(0)).abs().mean(),
        lambda out, yb: F.cross_entropy(out, yb) / (1 if len(yb) > 1 else 0),
        lambda out, yb: F.cross_entropy(out, yb, weight=torch.tensor([1.0, 2.0, 5.0])),
    ],
    ids=["a sum", "needs several", "fails", "weighs classes"],
)
def test_a_loss_that_is_no_mean_of_items_has_none_for_each(loss_func):
    lesson = lesson_of(layers(), loss_func=loss_func)
    assert evaluate(lesson, {}, intervals=True).losses is None


def test_each_loss_of_a_nest_can_be_had():
    class Two(nn.Module):
        def forward(self, xb: Tensor) -> Any:
            return {"left": xb[:, :2], "scale": torch.tensor(2.0)}, [xb[:, 2]]

    def loss_func(out: Any, yb: Tensor) -> Tensor:
        found: Tensor = (out[0]["left"].sum(1) * out[0]["scale"] - out[1][0] * yb).square().mean()
        return found

    found = evaluate(constant(OUT, Two(), loss_func), {}, intervals=True)
    assert found.losses == pytest.approx((OUT[:, :2].sum(1) * 2 - OUT[:, 2] * Y).square().numpy(), rel=1e-5)


# ---- one number for everything, over items that are drawn again ------------------------------------------


def again(metric: Any, lesson: Lesson | None = None) -> Any:
    return evaluate(lesson or constant(OUT), {"valid_it": metric}, intervals=True).resampled.get("valid_it", ())


def test_one_number_is_measured_again_on_a_thousand_sets_of_items_the_same_each_time():
    found = again(r2)
    assert (found.shape, len(set(found))) == ((1000,), 1000)
    assert np.array_equal(found, again(r2))
    assert evaluate(constant(OUT), {"valid_it": r2}).resampled == {}, "while it trains nobody asks"
    shares = again(lambda out, yb: (yb == 1).float().mean())
    share, n = float((Y == 1).float().mean()), len(Y)
    assert shares.mean() == pytest.approx(share, abs=0.01)
    assert shares.std() == pytest.approx((share * (1 - share) / n) ** 0.5, rel=0.1)


def test_what_is_drawn_again_are_whole_items():
    pairs = {(float(x), int(y)) for x, y in zip(OUT[:, 0], Y, strict=True)}
    assert set(again(lambda out, yb: {*zip(out[:, 0].tolist(), yb.tolist(), strict=True)} <= pairs)) == {1.0}


@pytest.mark.parametrize(
    "metric",
    [
        accuracy,  # a value for each item
        lambda out, yb: 1.0 if len(yb.unique(dim=0)) == 3 and len(out.unique(dim=0)) == 30 else 1 / 0,
        lambda out, yb: torch.tensor(1.0) if len(out.unique(dim=0)) > 15 else torch.tensor(float("nan")),
    ],
    ids=["of each item", "fails", "is not finite"],
)
def test_where_one_set_of_items_has_no_number_there_are_none(metric):
    assert len(again(metric)) == 0


def test_a_metric_that_is_too_slow_is_not_drawn_on(monkeypatch):
    monkeypatch.setattr(measure, "MOST_RESAMPLING", 0.0)
    assert len(again(r2)) == 0


def test_what_is_none_of_an_items_cannot_be_drawn_again():
    def with_scale(xb: Tensor) -> Any:
        return OUT[xb.long()], torch.tensor(2.0)

    lesson = constant(torch.arange(30), with_scale, lambda out, yb: F.cross_entropy(out[0], yb))
    assert len(again(lambda out, yb: 0.5, lesson)) == 0
