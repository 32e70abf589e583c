"""train.py, the plain script of each level: it must give the numbers that the app's own code gives."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from tests.bundles import config_of
from tune_app.bundle.script import train_script
from tune_app.task import training
from tune_app.task.levels import LEVELS, Config, complete

RUFF = [str(Path(sys.executable).parent / "ruff"), "--quiet"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_script_imports_nothing_but_torch_numpy_safetensors_pyarrow_and_the_standard_library(level: str) -> None:
    allowed = {"torch", "numpy", "safetensors", "pyarrow"} | sys.stdlib_module_names
    modules = set()
    for node in ast.walk(ast.parse(train_script(config_of(level), 1, 1, 1, 1))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    assert {module.partition(".")[0] for module in modules} <= allowed


@pytest.mark.parametrize("level", LEVELS)
def test_a_script_has_the_constants_of_its_level_and_no_others(level: str) -> None:
    config = config_of(level)
    text = train_script(config, 7, 3.5, 2, 1)
    constants = {
        ast.unparse(node.targets[0]): node.value.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    rest = {"seed": 7, "epochs": 3.5, "results_per_epoch": 2, "threads": 1}
    assert constants == {name: value for name, value in config.items() if name != "level"} | rest


@pytest.mark.parametrize("level", LEVELS)
def test_a_script_is_formatted_and_linted_like_the_app(tmp_path: Path, level: str) -> None:
    path = tmp_path / "train.py"
    path.write_text(train_script(config_of(level), 1, 2, 4, 1))
    settings = ["--config", str(Path(__file__).parents[2] / "pyproject.toml")]
    for command in (["check", *settings], ["format", "--diff", *settings]):
        done = subprocess.run([*RUFF, *command, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_a_float_is_written_in_full() -> None:
    config = complete({"level": "fit", "lr": 0.1 + 0.2})
    assert "\nlr = 0.30000000000000004\n" in train_script(config, 0, 1, 1, 1)


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys, small_data, one_thread):
    """Runs a script here, with what is imported already: its lines. In a process of its own: test_verify.py."""

    def run(text: str) -> list[str]:
        (tmp_path / "train.py").write_text(text)
        arguments = ["train.py", "--data", str(small_data), "-o", str(tmp_path / "weights.safetensors")]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", arguments)
            runpy.run_path(str(tmp_path / "train.py"), run_name="__main__")
        return list(capsys.readouterr().out.splitlines())

    return run


@pytest.mark.parametrize("level", LEVELS)
def test_a_script_gives_the_accuracies_losses_and_weights_of_the_level_to_the_last_bit(
    tmp_path, small, printed, level
):
    lesson = training.prepare(config_of(level), small, 120941839, torch.device("cpu"))
    expected = list(training.fit(lesson, 5 / 3, 3))
    found = [line.split() for line in printed(train_script(config_of(level), 120941839, 5 / 3, 3, 1))]
    assert [float(words[4]) for words in found] == [result.valid["valid_accuracy"] for result in expected]
    assert [float(words[7]) for words in found] == [result.valid["valid_loss"] for result in expected]
    assert [words[1] for words in found] == [f"{result.epoch:g}" for result in expected]
    weights = load_file(tmp_path / "weights.safetensors")
    assert set(weights) == set(lesson.parameters)
    for name, parameter in lesson.parameters.items():
        assert (weights[name] == parameter.detach().numpy()).all()


def test_the_files_that_a_script_is_made_of_run_where_they_are(small_data, printed):
    module = "tune_app.task.tutorial.plain.accelerator"
    command = [sys.executable, "-m", module, "--data", str(small_data)]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    config: Config = {"level": "accelerator", "lr": 0.1, "bs": 64, "momentum": 0.9, "weight_decay": 0.0, "width": 1}
    assert there.stdout.splitlines() == printed(train_script(config, 0, 2.0, 4, 1))  # of pieces/found.py
    assert there.stdout.count("\n") == 8
