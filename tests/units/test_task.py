"""What a task declares, and whole configs: the tutorial's, and hyperparameters of every kind."""

import math

import pytest

from tests.refused import refusal
from tune_app.errors import TuneAppError
from tune_app.task.task import Config, Hyperparameter, Kind
from tune_app.task.tutorial import tutorial

complete = tutorial().complete


def test_what_is_left_out_has_the_tutorials_value():
    assert complete({"level": "scratch"}) == {"level": "scratch", "lr": 0.5, "bs": 64}
    assert complete({"level": "optim"}) == {"level": "optim", "lr": 0.5, "bs": 64, "momentum": 0, "weight_decay": 0}
    baseline = {"level": "cnn", "lr": 0.1, "bs": 64, "momentum": 0.9, "weight_decay": 0, "width": 1}
    assert complete({"level": "cnn"}) == tutorial().baseline_config == baseline


def test_what_is_given_stays_in_the_levels_order_and_the_given_config_is_not_changed() -> None:
    given: Config = {"bs": 32.0, "level": "optim", "lr": 1}
    whole = {"level": "optim", "lr": 1.0, "bs": 32, "momentum": 0.0, "weight_decay": 0.0}
    assert repr(complete(given)) == repr(whole), "each number is of its hyperparameter's kind"
    assert given == {"bs": 32.0, "level": "optim", "lr": 1}


@pytest.mark.parametrize("level", [None, 3, True, ["cnn"], {"cnn": 1}, "", "CNN "])
def test_what_is_no_name_of_a_level_is_refused(level: object):
    with pytest.raises(TuneAppError, match=r"does not exist, .*allowed: scratch"):
        tutorial().level(level)


def test_an_unknown_hyperparameter_is_refused_with_the_nearest_name():
    said = "level 'optim' has no 'momentun', did you mean 'momentum'? allowed: lr, bs, momentum, weight_decay"
    assert refusal(complete, {"level": "optim", "momentun": 0.9}) == said


BEYOND_AND_ENDS = {
    "lr": ((0, -0.1, 1000.1), (5e-324, 1000)),
    "bs": ((0, 100_001, 64.5), (1, 100_000)),
    "momentum": ((1, -1e-9), (0, 1 - 1e-12)),
    "weight_decay": ((1.1, -1), (0, 1)),
    "width": ((0, 65), (1, 64)),
}


@pytest.mark.parametrize("name", tutorial().hyperparameters)
def test_a_value_out_of_range_is_refused_with_what_is_allowed_and_the_ends_of_a_range_are(name: str):
    beyond, ends = BEYOND_AND_ENDS[name]
    for value in beyond:
        said = f"{name} is {value!r}, allowed: {tutorial().hyperparameters[name].allowed}"
        assert refusal(complete, {"level": "cnn", name: value}) == said
    for value in ends:
        assert complete({"level": "cnn", name: value})[name] == value


@pytest.mark.parametrize(
    ("kind", "options", "values"),
    [
        ("bool", (), [True, False]),
        ("str", (), ["", "SGD", "true", "1"]),
        ("str", ("SGD", "Adam"), ["SGD", "Adam"]),
        ("int", (), [0, -3, 10**30]),
        ("float", (), [0.5, -1e300]),
    ],
)
def test_a_value_of_its_kind_stays_as_it_is(kind: Kind, options: tuple[str, ...], values: list[object]):
    x = Hyperparameter(name="x", kind=kind, options=options)
    assert [(type(found), found) for found in map(x.check, values)] == [(type(v), v) for v in values]


@pytest.mark.parametrize(
    ("kind", "options", "allowed", "values"),
    [
        ("bool", (), "true or false", [1, 0, 0.0, "true", "", None, [True]]),
        ("str", (), "text", [True, 3, 0.5, None, ["a"], b"SGD"]),
        ("str", ("SGD", "Adam"), "SGD, Adam", ["sgd", "", "SGD ", True, 0, None]),
        ("int", (), "an integer", [True, "3", 0.5, math.inf, None, [1]]),
        ("float", (), "a number", [False, "0.5", math.nan, -math.inf, None, [1], 1j]),
    ],
)
def test_a_value_of_another_kind_is_refused(kind, options, allowed, values):
    for value in values:
        check = Hyperparameter(name="x", kind=kind, options=options).check
        assert refusal(check, value) == f"x is {value!r}, allowed: {allowed}"


@pytest.mark.parametrize(("kind", "allowed"), [("int", "an integer"), ("float", "a number")])
def test_an_integer_too_large_for_a_float_is_refused_in_one_short_line(kind: Kind, allowed: str):
    said = f"x is 1{59 * '0'}, allowed: {allowed}"
    assert refusal(Hyperparameter(name="x", kind=kind).check, 10**309) == said
