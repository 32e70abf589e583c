"""What takes long to import stays away from those who do without it. Who may import whom: pyproject.toml."""

import subprocess
import sys

import pytest

from tests.own_task import write

# A worker imports torch when it starts, so its module does not, for the driver's sake.
FORBIDDEN = {
    "tune_app": {"ray", "torch", "optuna", "pydantic", "numpy"},
    "tune_app.cli": {"ray", "torch", "optuna", "numpy", "rich", "yaml"},
    "tune_app.task.tutorial tune_app.bundle.code": {"ray", "torch", "optuna", "numpy"},
    "tune_app.task.loop": {"ray", "optuna", "pydantic", "pyarrow"},
    "tune_app.task.training": {"ray", "optuna", "pyarrow"},
    "tune_app.experiment.history tune_app.experiment.table tune_app.storage.load tune_app.storage.mirroring": {
        *("ray", "torch", "optuna", "pandas", "pyarrow")
    },
    "tune_app.task.images.sources tune_app.bundle.export tune_app.bundle.retrain tune_app.bundle.verify"
    " tune_app.output.results tune_app.output.view tune_app.engine.asha": {
        *("ray", "torch", "optuna", "pandas", "plotly")
    },
    "tune_app.bundle.predict": {"ray", "optuna"},
    "tune_app.output.report.page tune_app.engine.search tune_app.plan tune_app.check tune_app.driver": {
        "ray",
        "torch",
    },
    "tune_app.trials.worker": {"torch", "optuna"},
}
"""By modules that one process can import one after the other."""


@pytest.mark.parametrize("modules", FORBIDDEN)
def test_modules_do_not_import(modules: str) -> None:
    program = f"import sys, {', '.join(modules.split())}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert set(modules.split()) <= imported
    assert imported & FORBIDDEN[modules] == set()


def test_levels_needs_no_torch(tmp_path):
    write(tmp_path)
    code = "from tune_app.cli import main; main(['levels', 'mine.py'], standalone_mode=False)"
    code += "; import sys; print({'torch', 'numpy', 'mine'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
