"""What Python gives to the API: dicts, NumPy's numbers and paths; and how errors call its arguments."""

import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import tune_app
from tests.made_up import ask_and_start, give, searching
from tests.refused import refusal
from tune_app import Where
from tune_app.errors import TuneAppError
from tune_app.experiment.space import load_space

FILE = """
space:
  level: {choice: [linear, cnn]}
  lr: {loguniform: [0.25, 1.0]}
  bs: {choice: [16, 32, 48]}
  width: {choice: [1, 2], when: {level: [cnn]}}
search: {num_samples: 5, grace_period: 0.5, early_stopping: false, max_epochs: 3, time_budget: 60, seed: 7}
"""


def test_a_dict_is_a_space_like_the_file_with_the_same_content(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    space = {
        "level": {"choice": np.array(["linear", "cnn"])},
        "lr": {"loguniform": (np.float32(0.25), 1.0)},
        "bs": {"choice": range(16, 49, 16)},
        "width": MappingProxyType({"choice": pd.Series([1, 2]), "when": {"level": ("cnn",)}}),
    }
    search = {"num_samples": np.int8(5), "grace_period": np.float32(0.5), "early_stopping": np.bool_(False)}
    options = {"max_epochs": torch.tensor(3), "time_budget": np.array(60), "seed": np.uint64(7)}
    file, found = load_space(path), load_space({"space": space, "search": search}, options)
    assert (found.name, found.space, found.settings) == ("space", file.space, file.settings)
    recorded = json.dumps([found.content, found.settings.model_dump()])
    assert recorded == json.dumps([yaml.safe_load(FILE)["space"], file.settings.model_dump()])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": {"level": Path("cnn")}}, "dict: space.level: level PosixPath('cnn') does not exist, "),
        ({"space": {"bs": {"choice": {16, 32}}}}, "dict: space.bs.choice is {"),
        ({"space": {"level": "cnn"}, "search": {"seed": np.float64(0.5)}}, "dict: search.seed is 0.5, allowed: "),
        ({"space": {("lr", "bs"): 1}}, "dict: space.('lr', 'bs') is unknown, allowed: level, lr, bs"),
        ({}, "dict: space is None, allowed: a mapping of dimensions to domains"),
    ],
)
def test_a_mistake_in_a_dict_is_one_line_with_its_key(given: dict[str, Any], message: str) -> None:
    assert refusal(load_space, given).startswith(message)


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished search called x of two trials in the folder experiments."""
    monkeypatch.chdir(tmp_path)
    with searching(tmp_path / "experiments", "x", num_samples=2, end="completed") as search:
        for value in (0.5, 0.6):
            give(search, ask_and_start(search), *[value] * 9)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: tune_app.search(settings={"num_samples": 0}), "num_samples is 0, allowed: greater than or equal"),
        (lambda: tune_app.load_space("quick", {"early_stoping": True}), "early_stoping is unknown, did you mean"),
        (lambda: tune_app.search(name="x"), "experiments/x: exists already, allowed: another name, or tune-app"),
        (lambda: tune_app.search("grid", enqueue="x:1"), "enqueue does not go with a grid"),
        (lambda: tune_app.search({"space": {"level": "fit"}}, enqueue="x:1"), "enqueue x:1: level linear"),
        (lambda: tune_app.search(where=Where(data="https://me:pw@host/x")), "https://...: is no path on this"),
        (lambda: tune_app.extend("x", {"num_samples": 1}), "num_samples is 1, allowed: more than the 2 trials"),
        (lambda: tune_app.confirm("x", top=0), "top is 0, allowed: 1 to 50"),
        (lambda: tune_app.confirm("x", seeds=1001), "seeds is 1001, allowed: 1 to 1000"),
    ],
)
def test_an_error_names_the_argument_and_not_the_option(call: Callable[[], object], line: str) -> None:
    said = refusal(call)
    assert said.startswith(line)
    assert "--" not in said


def test_what_a_command_without_an_option_would_be_is_false_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def search() -> None:
        raise TuneAppError("--address a--b: no -- way; allowed: --no-dashboard, ray start --address=a")

    said = "address a--b: no -- way; allowed: dashboard=False, ray start --address=a"
    assert refusal(tune_app.in_python(search)) == said
