"""train.py, the plain script of each level: it must give the numbers that the app's own code gives."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import config_of
from tune_app.bundle.script import train_script
from tune_app.task.tutorial import tutorial

RUFF = [str(Path(sys.executable).parent / "ruff"), "--quiet"]


@pytest.mark.parametrize("level", tutorial().levels)
def test_a_script_imports_nothing_but_torch_numpy_safetensors_pyarrow_and_the_standard_library(level: str) -> None:
    allowed = {"torch", "numpy", "safetensors", "pyarrow"} | sys.stdlib_module_names
    modules = set()
    for node in ast.walk(ast.parse(train_script(config_of(level), 1, 1, 1, 1))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    assert {module.partition(".")[0] for module in modules} <= allowed


@pytest.mark.parametrize("level", tutorial().levels)
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


@pytest.mark.parametrize("level", tutorial().levels)
def test_a_script_is_formatted_and_linted_like_the_app(tmp_path: Path, level: str) -> None:
    path = tmp_path / "train.py"
    path.write_text(train_script(config_of(level), 1, 2, 4, 1))
    settings = ["--config", str(Path(__file__).parents[2] / "pyproject.toml")]
    for command in (["check", *settings], ["format", "--diff", *settings]):
        done = subprocess.run([*RUFF, *command, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_a_float_is_written_in_full() -> None:
    config = tutorial().complete({"level": "fit", "lr": 0.1 + 0.2})
    assert "\nlr = 0.30000000000000004\n" in train_script(config, 0, 1, 1, 1)
