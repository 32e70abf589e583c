"""tune-app verify: the train.py of an exported folder is run in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bundles import config_of, make_bundle, reseal, run
from tests.refused import error_of, refusal
from tune_app.bundle import verify
from tune_app.bundle.manifest import SCRIPT, read_bundle
from tune_app.bundle.verify import run_script, runnable
from tune_app.task.images import sources

ROOT = Path(__file__).parent.parent.parent


def comes_out(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    """From now on its script is not run, but gives what is recorded now."""
    recorded = read_bundle(bundle)
    pairs = zip(*recorded.results.values(), strict=True)
    results = [
        (k / 2, "cpu", dict(zip(recorded.results, values, strict=True))) for k, values in enumerate(pairs, 1)
    ]
    monkeypatch.setattr(verify, "run_script", lambda *_: iter(results))


@pytest.mark.parametrize(("metric", "plural"), [("accuracy", "valid accuracies"), ("loss", "valid losses")])
def test_verify_finds_the_recorded_floats_again_and_on_another_processor_what_is_near(
    tmp_path: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch, metric: str, plural: str
) -> None:
    best = make_bundle(tmp_path, config_of("fit"), small_data, 2, 2, f"valid_{metric}")
    recorded = read_bundle(best).values
    for done in (run("verify", best), run("train", best / "config.yaml")):
        assert done.exit_code == 0, done.output
        *lines, said = done.stdout.splitlines()
        assert [float(line.split()[-1]) for line in lines] == recorded
        assert said == f"The same {plural} as in the search."
    comes_out(monkeypatch, best)
    content = json.loads(run("verify", best, "--json").stdout)
    same: dict[str, object] = {"comes_back": True, "exactly": True, "allowed": None, "differences": []}
    assert content == {**same, plural.replace(" ", "_"): recorded, "recorded": recorded}

    *earlier, last = recorded
    reseal(best, results={f"valid_{metric}": [*earlier, last + 0.002]})
    done = run("verify", best)
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: {best}: the {plural} do not come back: result {len(recorded)} is {last}, {last + 0.002}"
        " in the search; allowed: the same floats, since nothing else differs\n"
    )
    near, far = last + 0.015, last + 0.025
    reseal(best, results={f"valid_{metric}": [*earlier, near]}, cpu="Elbrus-8C")
    done = run("verify", best)
    assert (done.exit_code, done.stderr) == (0, "")
    *_, within, different = done.stdout.splitlines()
    assert within == f"The last valid {metric} is within {near - 0.02:.4f} to {near + 0.02:.4f}."
    assert different.startswith("  different: CPU model: Elbrus-8C in the search, ")
    reseal(best, results={f"valid_{metric}": [*earlier, far]})
    done = run("verify", best)
    assert done.exit_code == 1
    assert done.stderr.endswith(f"; allowed: {far - 0.02:.4f} to {far + 0.02:.4f}\n")


def test_data_given_by_name_are_used_and_others_are_refused(bundle, small_data, monkeypatch) -> None:
    monkeypatch.setattr(verify, "printed", lambda *_: iter(()))  # nothing is trained
    shutil.copy(small_data, "same.parquet")
    assert "0 results came out" in run("verify", bundle, "--data", "same.parquet").stderr
    line = error_of(run("verify", bundle, "--data", sources.SHIPPED))
    assert line.startswith(f"{sources.SHIPPED}: not the data of the search: their digest is ")
    assert read_bundle(bundle).data_digest in line


def test_packages_that_lie_outside_of_python_are_found_and_modules_beside_the_bundle_are_not(
    bundle: Path, tmp_path: Path, small_data: Path
) -> None:
    shutil.copy(small_data, "same.parquet")
    bare = Path(os.path.realpath(sys.executable))
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PYTHONPATH": str(ROOT), "PYTHONUSERBASE": str(tmp_path / "user")}
    site = Path(sysconfig.get_path("purelib", "posix_user", {"userbase": env["PYTHONUSERBASE"]}))
    site.mkdir(parents=True)
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    for folder in (bundle, Path()):
        (folder / "torch.py").write_text("raise SystemExit(9)\n")
    command = [str(bare), "-m", "tune_app", "verify", "best", "--data", "same.parquet"]  # -m: sys.path begins here
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("The same valid accuracies as in the search.\n")


def test_a_script_that_ends_badly_is_one_line(bundle: Path) -> None:
    checked = runnable(bundle)
    broken = replace(checked, code={SCRIPT: "raise ValueError('no memory')"})
    assert refusal(list, run_script(broken, None)) == "best/train.py: exit code 1: ValueError: no memory"


def test_what_is_run_is_the_checked_text_and_not_the_file(bundle: Path) -> None:
    checked = runnable(bundle)
    (bundle / SCRIPT).write_text("raise SystemExit(9)\n")
    program = """print('{"epoch": 1, "device": "cpu", "valid_accuracy": 0.5}')"""
    assert list(run_script(replace(checked, code={SCRIPT: program}), None)) == [(1, "cpu", {"valid_accuracy": 0.5})]
