import json
from itertools import product
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.refused import refusal
from tune_app.errors import TuneAppError
from tune_app.experiment.space import SearchSpace, load_space, shipped, space_schema
from tune_app.task.tutorial import tutorial

FOLDER = Path(__file__).parents[2] / "search_spaces"
MANY = f"{{grid: {list(range(1, 32))}}}"
OWN = """
from typing import Literal

from tune_app.task import Lesson

Optimizer = Literal["SGD", "Adam"]


def mlp(data, *, optimizer: Optimizer = "SGD", nesterov: bool = False, lr: float = 0.1, note: str = "") -> Lesson:
    raise NotImplementedError
"""
"""A task with hyperparameters that are no numbers."""


def space_of(folder: Path, text: str, **options: object) -> SearchSpace:
    path = folder / "space.yaml"
    path.write_text(text)
    return load_space(str(path), options).space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("space: {lrr: 0.1}", "space.lrr is unknown, did you mean 'lr'? allowed: level, lr, bs"),
        ("space: {level: cnm}", "space.level: level 'cnm' does not exist, did you mean 'cnn'? allowed: scratch"),
        ("space: {lr: {lognormal: [1, 2]}}", "space.lr.lognormal is unknown, did you mean 'loguniform'? allowed"),
        ("space: {lr: {uniform: [1, 0.1]}}", "space.lr.uniform is [1, 0.1], allowed: [low, high] with low below"),
        ("space: {lr: {loguniform: [0, 1]}}", "space.lr.loguniform is [0, 1], allowed: bounds greater than 0"),
        ("space: {bs: {uniform: [1, 64]}}", "space.bs.uniform does not fit: bs takes integers, allowed: randint"),
        ("space: {level: {uniform: [1, 64]}}", "space.level.uniform is a range of names, allowed: choice, grid"),
        ("space: {bs: {choice: [32, 32]}}", "space.bs.choice is [32, 32], allowed: each value once"),
        ("space: {bs: {choice: [32], grid: [32]}}", "space.bs has choice and grid, allowed: one of choice, grid"),
        ("space: {bs: {choice: }}", "space.bs.choice is empty, allowed: a list of values or [low, high]"),
        ("space: {bs: {}}", "space.bs has no domain, allowed: one of choice, grid, uniform, loguniform, randint"),
        ("", "is None, allowed: a mapping with space and search"),
        ("space: {lr: 0.1}\nsearch: {num_sample: 3}", "search.num_sample is unknown, did you mean 'num_samples'?"),
        ("space: {lr: 1}\nsearch: {time_budget: soon}", "search.time_budget is 'soon', allowed: seconds, or 90s"),
        (
            "space: {level: {choice: [scratch, cnn]}, momentum: 0.9}",
            "space.momentum: level 'scratch' has no momentum, allowed: when: {level: [cnn]}",
        ),
        ("space: {level: scratch, width: 2}", "space.width: level 'scratch' has no width, allowed: leave it out"),
        ("space: {momentum: {choice: [0], when: {}}}", "space.momentum.when is empty, allowed: a dimension"),
        (
            "space: {level: {choice: [cnn]}, momentum: {choice: [0], when: {level: [linear]}}}",
            "space.momentum.when.level is 'linear', which space.level never is, allowed: cnn",
        ),
        (
            "space: {lr: {uniform: [0.1, 1]}, momentum: {choice: [0], when: {lr: [0.5]}}}",
            "space.momentum.when.lr is a uniform, allowed: a choice, a grid or a constant",
        ),
        (
            "space: {bs: {choice: [32], when: {width: [1]}}, width: {choice: [1], when: {bs: [32]}}}",
            "when goes round in a circle between space.bs, space.width",
        ),
        (
            "space: {lr: {uniform: [0.1, 1]}, bs: {grid: [32, 64]}}",
            "space.lr is a uniform beside a grid, allowed: grids and constants only",
        ),
        (f"space: {{bs: {MANY}, lr: {MANY}}}", "space has more than 900 points in its grid"),
        ("space: {bs: {grid: [32]}}\nsearch: {num_samples: 3}", "search.num_samples does not go with a grid"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_value_and_what_is_allowed(
    tmp_path, monkeypatch, text, message
) -> None:
    monkeypatch.setattr("tune_app.experiment.space.MOST_POINTS", 900)
    line = refusal(space_of, tmp_path, text)
    assert line.startswith(str(tmp_path / "space.yaml"))
    assert message in line


def test_a_mistaken_option_is_named_as_the_option(tmp_path: Path) -> None:
    with pytest.raises(TuneAppError, match=r"^--grace-period is 9, allowed: at most max_epochs, 5$"):
        space_of(tmp_path, "space: {lr: 0.1}", grace_period=9.0)
    with pytest.raises(TuneAppError, match=r"^--num-samples does not go with a grid"):
        space_of(tmp_path, "space: {bs: {grid: [32]}}", num_samples=2)


def test_options_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("space: {lr: 0.1}\nsearch: {num_samples: 3, seed: 5, time_budget: 1.5m}")
    settings_ = load_space(str(path), {"num_samples": 7}).settings
    assert (settings_.num_samples, settings_.seed, settings_.time_budget) == (7, 5, 90)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_files_fit_their_schema_and_name_it(name: str) -> None:
    text, source = (FOLDER / f"{name}.yaml").read_text(), load_space(name)
    assert source.task.files or text.startswith("# yaml-language-server: $schema=space.schema.json\n")
    jsonschema.validate(yaml.safe_load(text), space_schema(source.task))
    assert source.num_trials > 0


def test_the_schema_file_is_that_of_the_model() -> None:
    assert json.loads((FOLDER / "space.schema.json").read_text()) == space_schema(tutorial())


def test_the_schema_refuses_what_an_editor_should_mark() -> None:
    schema = space_schema(tutorial())
    for bad in ({"lrr": 0.1}, {"lr": {"loguniform": [1, 2], "uniform": [1, 2]}}, {"lr": {"log": [1, 2]}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"space": bad}, schema)


def test_a_grid_enumerates_every_point_once_in_file_order(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        "space: {level: {grid: [linear, optim]}, momentum: {grid: [0, 0.9], when: {level: [optim]}},"
        " bs: {grid: [64, 32]}}",
    )
    points = [(c["level"], c.get("momentum"), c["bs"]) for c in space.grid()]
    assert points == [("linear", None, 64), ("linear", None, 32), *product(["optim"], [0, 0.9], [64, 32])]


def of_own_task(folder: Path, space: str) -> SearchSpace:
    (folder / "own.py").write_text(OWN)
    return space_of(folder, f"task: own.py\nspace: {space}")


def test_what_is_no_number_can_be_a_choice_a_grid_or_a_constant(tmp_path: Path) -> None:
    text = (
        "{nesterov: {choice: [true, false], when: {optimizer: [SGD]}}, optimizer: {choice: [SGD, Adam]}, note: x}"
    )
    space = of_own_task(tmp_path, text)
    assert [d.name for d in space.dimensions] == ["level", "optimizer", "nesterov", "note"]
    assert str(space.dimensions[2]) == "choice of True, False, when optimizer is SGD"
    config = {"level": "mlp", "optimizer": "SGD", "nesterov": True, "lr": 0.1, "note": "x"}
    assert space.outside(space.task.complete(config)) is None
    assert space.outside(space.task.complete({**config, "note": ""})) == "note "
    assert space.outside(space.task.complete({**config, "optimizer": "Adam"})) == "nesterov True"
    grid = of_own_task(tmp_path, "{optimizer: {grid: [Adam, SGD]}, nesterov: {grid: [true, false]}, note: a}")
    points = [(c["optimizer"], c["nesterov"], c["note"]) for c in grid.grid()]
    assert points == [*product(["Adam", "SGD"], [True, False], ["a"])]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{nesterov: {uniform: [0, 1]}}", "space.nesterov.uniform is a range of true or false, allowed: "),
        ("{nesterov: 1}", "space.nesterov: nesterov is 1, allowed: true or false"),
        ("{optimizer: {grid: [SGD, Adma]}}", "space.optimizer.grid: optimizer is 'Adma', allowed: SGD, Adam"),
        (
            "{nesterov: {choice: [true, false]}, lr: {choice: [1], when: {nesterov: [1]}}}",
            "space.lr.when.nesterov: nesterov is 1, allowed: true or false",
        ),
    ],
)
def test_a_mistake_with_what_is_no_number_is_one_line(tmp_path: Path, space: str, message: str) -> None:
    assert refusal(of_own_task, tmp_path, space).startswith(f"{tmp_path / 'space.yaml'}: {message}")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from([*tutorial().levels, *tutorial().hyperparameters, "", "1e-3", "x"]),
)
domains = st.dictionaries(
    st.sampled_from(["choice", "grid", "uniform", "loguniform", "randint", "when", "x"]),
    st.one_of(
        scalars,
        st.lists(scalars, max_size=3),
        st.dictionaries(st.sampled_from(["level", "lr", "bs", "momentum"]), st.lists(scalars, max_size=3)),
    ),
    max_size=2,
)
spaces = st.dictionaries(
    st.one_of(st.sampled_from(["level", *tutorial().hyperparameters]), scalars),
    st.one_of(scalars, domains),
    max_size=4,
)
searches = st.dictionaries(
    st.sampled_from(["num_samples", "seed", "metric", "grace_period", "time_budget", "target", "x"]),
    st.one_of(scalars, st.lists(scalars, max_size=2)),
    max_size=2,
)
contents = st.one_of(
    scalars,
    st.fixed_dictionaries({"space": st.one_of(scalars, spaces)}, optional={"search": st.one_of(scalars, searches)}),
)


@settings(max_examples=200)
@given(content=contents)
@example(content={"space": {"lr": {"choice": [[1]]}}})
def test_any_content_yields_a_valid_space_or_an_error_in_one_line(tmp_path: Path, content: object) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        source = load_space(str(path))
    except TuneAppError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
        assert len(str(error)) < 1500
    else:
        assert source.num_trials >= 1
        assert {d.name for d in source.space.dimensions} <= {"level", *tutorial().hyperparameters}
        for dimension in source.space.dimensions:
            assert dimension.values or dimension.low < dimension.high
