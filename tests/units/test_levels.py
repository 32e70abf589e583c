import math
from inspect import isfunction

import pytest

from tune_app.errors import TuneAppError
from tune_app.task import levels
from tune_app.task.levels import HYPERPARAMETERS, LEVELS, TUTORIAL_CONFIG, check_level, complete
from tune_app.task.training import FAMILIES

LOGISTIC = ["scratch", "functional", "module", "linear", "optim", "dataset", "dataloader", "validation", "fit"]
CNN = ["cnn", "sequential", "wrapped", "accelerator"]


def test_the_levels_stand_in_the_tutorials_order():
    assert list(LEVELS) == LOGISTIC + CNN


def test_every_level_is_listed_under_its_own_name_with_its_family():
    assert all(name == level.name for name, level in LEVELS.items())
    assert [level.name for level in LEVELS.values() if level.family == "logistic"] == LOGISTIC
    assert [level.name for level in LEVELS.values() if level.family == "cnn"] == CNN


@pytest.mark.parametrize("name", LOGISTIC + CNN)
def test_a_level_has_code_of_its_name_in_its_familys_module(name: str):
    home = FAMILIES[LEVELS[name].family]
    code = getattr(home, name)
    assert isfunction(code)
    assert (code.__module__, code.__name__) == (home.__name__, name)


def test_every_level_names_the_section_of_the_tutorial_it_comes_from():
    sections = [level.section for level in LEVELS.values()]
    assert all(sections)
    assert len(set(sections)) == len(sections)


def test_momentum_and_weight_decay_begin_with_optim_and_width_with_cnn():
    order = list(LEVELS)
    for name, level in LEVELS.items():
        later = order.index(name) >= order.index("optim")
        assert {"lr", "bs"} <= set(level.defaults)
        assert ("momentum" in level.defaults) == ("weight_decay" in level.defaults) == later
        assert ("width" in level.defaults) == (level.family == "cnn")


def test_every_hyperparameter_of_a_level_has_a_range_and_a_meaning():
    named = {name for level in LEVELS.values() for name in level.defaults}
    assert named == set(HYPERPARAMETERS)
    assert all(h.meaning and h.low < h.high for h in HYPERPARAMETERS.values())


def test_the_tutorials_own_config_is_complete():
    assert complete(TUTORIAL_CONFIG) == TUTORIAL_CONFIG
    assert TUTORIAL_CONFIG == {
        "level": "cnn",
        "lr": 0.1,
        "bs": 64,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "width": 1,
    }


def test_what_is_left_out_has_the_tutorials_value():
    assert complete({"level": "scratch"}) == {"level": "scratch", "lr": 0.5, "bs": 64}
    assert complete({"level": "optim"}) == {
        "level": "optim",
        "lr": 0.5,
        "bs": 64,
        "momentum": 0.0,
        "weight_decay": 0.0,
    }


@pytest.mark.parametrize("name", LOGISTIC + CNN)
def test_a_level_alone_is_completed_with_its_defaults(name: str):
    config = complete({"level": name})
    assert config == {"level": name, **LEVELS[name].defaults}
    assert all(type(config[h]) is HYPERPARAMETERS[h].kind for h in LEVELS[name].defaults)


def test_what_is_given_stays_and_the_given_config_is_not_changed():
    given = {"level": "cnn", "width": 3, "lr": 0.25}
    config = complete(given)
    assert (config["width"], config["lr"], config["momentum"]) == (3, 0.25, 0.9)
    assert given == {"level": "cnn", "width": 3, "lr": 0.25}


def test_the_order_of_a_config_does_not_depend_on_the_order_given():
    assert list(complete({"bs": 32, "level": "optim", "lr": 1})) == list(complete({"level": "optim"}))


def test_numbers_become_the_hyperparameters_kind():
    config = complete({"level": "cnn", "lr": 1, "bs": 32.0, "width": 2.0})
    assert [type(config[name]) for name in ("lr", "bs", "width")] == [float, int, int]
    assert (config["lr"], config["bs"], config["width"]) == (1.0, 32, 2)


def test_an_unknown_level_is_refused_with_the_nearest_name():
    with pytest.raises(TuneAppError) as error:
        complete({"level": "sequental"})
    assert "'sequental' does not exist, did you mean 'sequential'? allowed: scratch, functional," in str(
        error.value
    )


@pytest.mark.parametrize("level", [None, 3, True, ["cnn"], {"cnn": 1}, "", "CNN "])
def test_what_is_no_name_of_a_level_is_refused(level: object):
    with pytest.raises(TuneAppError, match=r"does not exist, .*allowed: scratch"):
        check_level(level)


def test_a_config_without_a_level_is_refused():
    with pytest.raises(TuneAppError, match="level is missing, allowed: scratch, functional"):
        complete({"lr": 0.1})


def test_an_unknown_hyperparameter_is_refused_with_the_nearest_name():
    with pytest.raises(TuneAppError) as error:
        complete({"level": "optim", "momentun": 0.9})
    assert str(error.value) == (
        "level 'optim' has no 'momentun', did you mean 'momentum'? allowed: lr, bs, momentum, weight_decay"
    )


@pytest.mark.parametrize(
    ("level", "name"),
    [("scratch", "momentum"), ("linear", "weight_decay"), ("fit", "width"), ("cnn", "dropout"), ("cnn", 3)],
)
def test_a_hyperparameter_that_the_level_lacks_is_refused(level: str, name: object):
    with pytest.raises(TuneAppError, match=rf"level '{level}' has no {name!r}, .*allowed: lr, bs"):
        complete({"level": level, name: 1})


BEYOND = [
    ("lr", 0),
    ("lr", -0.1),
    ("lr", 1000.1),
    ("bs", 0),
    ("bs", 100_001),
    ("bs", 64.5),
    ("momentum", 1),
    ("momentum", -1e-9),
    ("weight_decay", 1.1),
    ("weight_decay", -1),
    ("width", 0),
    ("width", 65),
]


@pytest.mark.parametrize(("name", "value"), BEYOND)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(name: str, value: float):
    with pytest.raises(TuneAppError) as error:
        complete({"level": "cnn", name: value})
    assert str(error.value) == f"{name} is {value!r}, allowed: {HYPERPARAMETERS[name].allowed}"


@pytest.mark.parametrize("name", list(HYPERPARAMETERS))
@pytest.mark.parametrize("value", [True, False, math.nan, math.inf, -math.inf, "1", None, [1], 1j], ids=repr)
def test_what_is_no_finite_number_is_refused(name: str, value: object):
    with pytest.raises(TuneAppError) as error:
        complete({"level": "cnn", name: value})
    assert str(error.value).startswith(f"{name} is {value!r}, allowed: a")


def test_a_very_long_value_is_shortened_in_the_message():
    with pytest.raises(TuneAppError) as error:
        complete({"level": "cnn", "lr": "9" * 5000})
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 5e-324),
        ("lr", 1000),
        ("bs", 1),
        ("bs", 100_000),
        ("momentum", 0),
        ("momentum", 1 - 1e-12),
        ("weight_decay", 0),
        ("weight_decay", 1),
        ("width", 1),
        ("width", 64),
    ],
)
def test_the_ends_of_a_range_are_allowed(name: str, value: float):
    assert complete({"level": "cnn", name: value})[name] == value


def test_the_allowed_values_are_told_in_words():
    assert HYPERPARAMETERS["lr"].allowed == "a number, greater than 0, at most 1000"
    assert HYPERPARAMETERS["bs"].allowed == "an integer, 1 or more, at most 100000"
    assert HYPERPARAMETERS["momentum"].allowed == "a number, 0 or more, below 1"


def test_a_hyperparameter_without_an_upper_end_does_not_mention_one():
    free = levels.Hyperparameter("lr", float, 0, math.inf, True, False, "")
    assert free.allowed == "a number, 0 or more"
    assert free.check(1e300) == 1e300
