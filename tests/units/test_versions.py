"""What numbers depend on: versions, which may change while an experiment goes on, and the processor."""

import tomllib
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.made_up import ask_and_start, give, resumed, spec_of
from tests.refused import refusal
from tune_app import confirmation, driver, machine
from tune_app.bundle.export import trial_again
from tune_app.cluster.connect import Where
from tune_app.engine import search
from tune_app.engine.search import Search
from tune_app.machine import cpu_model
from tune_app.session import Caller
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
THEN = {"python": "3.12.3", "torch": "2.13.0", "optuna": "5.0.0", "numpy": "2.4.6"}

GoOn = Callable[[Callable[[str], None]], object]


class Far(Exception):
    """So far it went on."""


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this process one with other versions than those of then; it goes on until it would be carried out."""

    def carry_out(*_: object) -> None:
        raise Far

    for module in (driver, confirmation):
        monkeypatch.setattr(module, "carry_out", carry_out)

    def change(**others: str) -> None:
        for module in (driver, search):
            monkeypatch.setattr(module, "versions", lambda: machine.versions() | THEN | others)

    return change


def interrupted(folder: Path) -> list[GoOn]:
    """An experiment that was interrupted, with the versions of then: what resumes, extends and confirms it."""
    spec = spec_of("x", num_samples=2)
    begun = Search.create(spec.model_copy(update={"versions": spec.versions | THEN}), paths(folder, "x"))
    give(begun, ask_and_start(begun), 0.5, 0.6)
    begun.close()
    x = load_experiment("x", folder)

    def show(*_: object) -> None:
        """Nobody looks."""

    return [
        lambda announce: driver.resume(x, Caller(Where(), announce, show)),
        lambda announce: driver.extend(x, {"num_samples": 3}, Caller(Where(), announce, show)),
        lambda announce: confirmation.confirm(x, 5, 10, False, Caller(Where(), announce, show)),
    ]


@pytest.mark.parametrize(
    ("others", "difference"),
    [
        ({"python": "3.12.4"}, "python 3.12.3, now 3.12.4"),
        ({"torch": "2.13.0+cpu"}, "torch 2.13.0, now 2.13.0+cpu"),
        ({"numpy": "2.4.7", "optuna": "5.0.1"}, "optuna 5.0.0, now 5.0.1; numpy 2.4.6, now 2.4.7"),
    ],
)
def test_a_patch_of_python_or_a_package_is_mentioned_and_everything_goes_on(tmp_path, now, others, difference):
    now(**others)
    for go_on in interrupted(tmp_path):
        told: list[str] = []
        with pytest.raises(Far):
            go_on(told.append)
        assert told == [f"x was searched with {difference}: numbers may differ in their last digits."]


@pytest.mark.parametrize(("name", "version"), [("python", "3.13.3"), ("torch", "2.14.0"), ("numpy", "3.4.6")])
def test_a_minor_version_of_python_or_a_package_is_refused(tmp_path, now, name, version) -> None:
    now(**{name: version})
    for go_on in interrupted(tmp_path):
        said = f"x: was searched with {name} {THEN[name]}, now {version}; allowed: the same minor versions"
        assert refusal(go_on, print) == said


def test_what_a_training_is_compared_with_names_every_patch_of_the_search(tmp_path, now) -> None:
    interrupted(tmp_path)
    for patch in ("2.13.1", "2.13.2", "2.13.1"):
        now(torch=patch)
        resumed(paths(tmp_path, "x")).close()
    recorded = trial_again(load_experiment("x", tmp_path), 0).recorded
    assert recorded is not None
    found = {name: recorded.versions[name] for name in ("python", "torch")}
    assert found == {"python": "3.12.3", "torch": "2.13.0, 2.13.1, 2.13.2"}


def test_every_pin_of_constraints_lies_in_the_range_of_pyproject() -> None:
    wanted = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    pins = {name.lower().replace("_", "-"): version for name, version in PINS.items()}
    required = [found for found in map(Requirement, wanted) if found.name != PROJECT["name"]]
    assert len(required) > len(PROJECT["dependencies"])
    assert [str(one) for one in required if pins[one.name.lower()] not in one.specifier] == []


CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: {model}
model name\t: AMD EPYC
flags\t\t: fpu sse4_1 avx avx2 {more}

processor\t: 1
model name\t: another
"""


def test_processors_of_one_name_are_told_apart_by_model_and_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: CPUINFO.format(model=1, more=""))
    assert cpu_model() == "AMD EPYC (family 25, model 1, avx2)"
    monkeypatch.setattr(Path, "read_text", lambda _: CPUINFO.format(model=17, more="avx512f"))
    assert cpu_model() == "AMD EPYC (family 25, model 17, avx512f)"
