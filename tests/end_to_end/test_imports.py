"""Each wing is imported in a fresh process, and what it must not know is absent."""

import subprocess
import sys

import pytest

# A worker imports torch when it starts, so its module does not, for the driver's sake.
FORBIDDEN = {
    "tune_app": {"ray", "torch", "optuna", "pydantic", "numpy"},
    "tune_app.cli": {"ray", "torch", "optuna", "numpy", "rich", "yaml"},
    "tune_app.tutorial.levels": {"ray", "torch", "optuna", "numpy", "pydantic"},
    "tune_app.tutorial.training": {"ray", "optuna", "tune_app.experiment", "tune_app.tuning", "tune_app.output"},
    "tune_app.tutorial.exported": {"ray", "torch", "optuna", "tune_app.experiment", "tune_app.tuning"},
    "tune_app.tutorial.script": {"ray", "torch", "optuna", "numpy", "pydantic"},
    "tune_app.tutorial.verify": {"ray", "torch", "optuna", "tune_app.experiment", "tune_app.tuning"},
    "tune_app.tutorial.predict": {"ray", "optuna", "tune_app.experiment", "tune_app.tuning", "tune_app.output"},
    "tune_app.tutorial.download": {"ray", "torch", "optuna", "tune_app.experiment", "tune_app.tuning"},
    "tune_app.experiment.space": {"ray", "torch", "optuna", "tune_app.tuning", "tune_app.output"},
    "tune_app.experiment.history": {"ray", "torch", "optuna", "tune_app.tuning", "tune_app.output"},
    "tune_app.experiment.states": {"ray", "torch", "optuna", "tune_app.tuning", "tune_app.output"},
    "tune_app.experiment.table": {"ray", "torch", "optuna", "pandas", "pyarrow", "tune_app.output"},
    "tune_app.output.results": {"ray", "torch", "optuna", "pandas", "tune_app.tuning"},
    "tune_app.output.times": {"ray", "torch", "optuna", "tune_app.tuning"},
    "tune_app.output.markdown": {"ray", "torch", "optuna", "plotly", "tune_app.tuning"},
    "tune_app.output.report.page": {"ray", "torch", "tune_app.tuning"},
    "tune_app.experiment.mirror": {"ray", "torch", "optuna", "pyarrow", "tune_app.tuning", "tune_app.output"},
    "tune_app.tuning.mirroring": {"ray", "torch", "pyarrow"},
    "tune_app.output.summary": {"ray", "torch", "optuna", "tune_app.tuning"},
    "tune_app.output.view": {"ray", "torch", "optuna", "tune_app.tuning"},
    "tune_app.output.export": {"ray", "torch", "optuna", "tune_app.tuning"},
    "tune_app.output.dashboard": {"ray", "torch"},
    "tune_app.tuning.scheduler": {"ray", "torch", "optuna"},
    "tune_app.tuning.plan": {"ray", "torch"},
    "tune_app.tuning.search": {"ray", "torch"},
    "tune_app.tuning.driver": {"ray", "torch"},
    "tune_app.tuning.trainable": {
        "torch",
        "optuna",
        "ray.tune",
        "pandas",
        "pyarrow",
    },
}


def imported_by(module: str) -> set[str]:
    """The modules that a fresh process holds after importing `module`."""
    program = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_wing_does_not_know(module: str) -> None:
    assert imported_by(module) & FORBIDDEN[module] == set()


def test_this_check_can_fail() -> None:
    assert "torch" in imported_by("tune_app.tutorial.training")
    assert "ray" in imported_by("tune_app.tuning.trainable")
