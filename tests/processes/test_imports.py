"""What takes long to import stays away from those who do without it. Who may import whom: pyproject.toml."""

import subprocess
import sys

import pytest

# A worker imports torch when it starts, so its module does not, for the driver's sake.
FORBIDDEN = {
    "tune_app": {"ray", "torch", "optuna", "pydantic", "numpy"},
    "tune_app.cli": {"ray", "torch", "optuna", "numpy", "rich", "yaml"},
    "tune_app.task.tutorial": {"ray", "torch", "optuna", "numpy"},
    "tune_app.task.loop": {"ray", "optuna", "pydantic", "pyarrow"},
    "tune_app.task.training": {"ray", "optuna", "pyarrow"},
    "tune_app.task.images.download": {"ray", "torch", "optuna"},
    "tune_app.experiment.history": {"ray", "torch", "optuna", "pyarrow"},
    "tune_app.experiment.table": {"ray", "torch", "optuna", "pandas", "pyarrow"},
    "tune_app.storage.load": {"ray", "torch", "optuna", "pyarrow"},
    "tune_app.storage.mirroring": {"ray", "torch", "optuna", "pyarrow"},
    "tune_app.bundle.export": {"ray", "torch", "optuna"},
    "tune_app.bundle.retrain": {"ray", "torch", "optuna"},
    "tune_app.bundle.code": {"ray", "torch", "optuna", "numpy"},
    "tune_app.bundle.verify": {"ray", "torch", "optuna"},
    "tune_app.bundle.predict": {"ray", "optuna"},
    "tune_app.output.results": {"ray", "torch", "optuna", "pandas"},
    "tune_app.output.view": {"ray", "torch", "optuna"},
    "tune_app.output.markdown": {"ray", "torch", "optuna", "plotly"},
    "tune_app.output.dashboard": {"ray", "torch"},
    "tune_app.output.report.page": {"ray", "torch"},
    "tune_app.engine.asha": {"ray", "torch", "optuna"},
    "tune_app.engine.search": {"ray", "torch"},
    "tune_app.trials.worker": {"torch", "optuna"},
    "tune_app.plan": {"ray", "torch"},
    "tune_app.check": {"ray", "torch"},
    "tune_app.driver": {"ray", "torch"},
}


def imported_by(module: str) -> set[str]:
    """The modules that a fresh process holds after importing `module`."""
    program = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_module_does_not_import(module: str) -> None:
    imported = imported_by(module)
    assert module in imported
    assert imported & FORBIDDEN[module] == set()
