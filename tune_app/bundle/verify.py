"""Run a bundle's train.py in a process of its own, and compare its results with the recorded ones.

Nothing in a bundle is trusted: its code runs only if it is, byte for byte, what this version of tune_app writes for
its config.yaml, and what runs is that text. The files of a task of one's own are whatever the bundle holds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tune_app.bundle.code import CONSTANTS, TASK, code_files
from tune_app.bundle.manifest import CONFIG, MANIFEST, SCRIPT, Manifest, Recorded, read, read_bundle
from tune_app.bundle.retrain import Exported, differences, exported_from
from tune_app.errors import TuneAppError
from tune_app.machine import versions
from tune_app.task.images import mnist, sources
from tune_app.task.loop.data import whole_path
from tune_app.task.recorded import require_run_here

LEAST_OFF = 0.02
"""The tolerance of the last value, absolute and relative, where the numbers cannot be the same and no interval is
known. On two threads instead of one, the accuracy of the tutorial's CNN was up to 0.005 off in four
epochs of three seeds, and its loss by 0.008 after two.
"""


@dataclass(frozen=True)
class Bundle:
    """A bundle that may be run: its digests fit, and its code, by path, is ours but for the task's own files."""

    folder: Path
    manifest: Manifest
    exported: Exported
    code: dict[str, str]


@dataclass(frozen=True)
class Verification:
    """The values that came out, and how they compare with the recorded ones.

    differences: from the search, in words. allowed: the interval of the last value if something differs. exactly:
    every value is the same float. failure: why they are not those of the bundle, None where they are.
    """

    found: list[float]
    differences: list[str]
    allowed: tuple[float, float]
    exactly: bool
    failure: str | None


def runnable(folder: Path, run_its_code: bool = False) -> Bundle:
    """Check a bundle; `TuneAppError` for one that is damaged or whose code is not ours; see `require_run_here`."""
    manifest = read_bundle(folder)
    exported = exported_from(folder / CONFIG, manifest)
    settings = exported.settings
    for name, said, ours in (
        ("config", manifest.config, exported.config),
        *((name, getattr(manifest, name), getattr(settings, name)) for name in CONSTANTS),
    ):
        if said != ours:
            raise TuneAppError(
                f"{folder}: {MANIFEST} and {CONFIG} disagree: {name} is {said!s:.60} and {ours!s:.60}"
            )
    code = code_files(exported.task, exported.config, settings.model_dump())
    for name, text in code.items():
        if name not in manifest.files or read(folder / name) != text.encode():
            raise TuneAppError(
                f"{folder / name}: not run: it is not what tune_app {versions()['tune_app']} writes for {CONFIG},"
                f" and the bundle says it is by {manifest.written_by!r:.40}; allowed: that version, or to run it"
                " yourself"
            )
    require_run_here(exported.task, str(folder), str(folder / TASK), run_its_code)
    return Bundle(folder, manifest, exported, code)


def data_for(bundle: Bundle, source: str | None) -> str | None:
    """The value of the script's --data: `source`, or the source of the search.

    Of the tutorial it is a file with the images of the search, of which the script reads those to train on and to
    select by; MNIST itself is the package's, wherever the search had it. Raises `TuneAppError` for other images.
    """
    named = source or bundle.exported.settings.data
    if bundle.exported.task.files:
        return named and whole_path(named)
    if not source and bundle.manifest.data_digest == mnist.ORIGINAL:
        named = None
    path = sources.file_at(named) if named else sources.SHIPPED
    require_same_data(bundle.manifest, sources.load(path).digest(), named or str(path))
    return str(path.absolute())


def require_same_data(manifest: Recorded, found: str, source: str) -> None:
    """Raise `TuneAppError` unless these are the data that a bundle was trained on."""
    if found != manifest.data_digest:
        raise TuneAppError(
            f"{source}: not the data of the search: their digest is {found}, the manifest says"
            f" {manifest.data_digest}; allowed: --data with those of the search"
        )


def run_script(bundle: Bundle, source: str | None) -> Iterator[tuple[float, str, dict[str, float]]]:
    """Train by the bundle's script; of each result, as it comes, the epoch, the device and the metrics."""
    data = data_for(bundle, source)
    with tempfile.TemporaryDirectory(prefix="tune_app-") as folder:
        for name, text in bundle.code.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        for line in printed(bundle, Path(folder), [] if data is None else ["--data", data]):
            values = result_in(line)
            if "epoch" in values:
                yield values.pop("epoch"), values.pop("device"), values
            elif "data" in values and bundle.exported.task.files:
                require_same_data(bundle.manifest, values["data"], data or "load()")


def result_in(line: str) -> dict[str, Any]:
    """What the script says in a line; nothing where the task itself has printed it."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def printed(bundle: Bundle, folder: Path, options: list[str]) -> Iterator[str]:
    """The lines of JSON that the script prints; `TuneAppError` with its last words where it fails."""
    errors = folder / "stderr"
    command = [sys.executable, "-s", str(folder / SCRIPT), "--json", *options]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # Where this process finds packages, without the current directory.
    found = [entry for entry in map(os.path.abspath, sys.path) if entry != str(Path.cwd())]
    env["PYTHONPATH"] = os.pathsep.join([str(folder), *found])
    run = partial(subprocess.Popen, command, cwd=folder, env=env, stdin=subprocess.DEVNULL, text=True)
    with errors.open("w") as stderr, run(stdout=subprocess.PIPE, stderr=stderr) as process:
        try:
            yield from process.stdout or ()
            if process.wait():
                said = errors.read_text(errors="replace").strip().splitlines() or ["without a word"]
                raise TuneAppError(f"{bundle.folder / SCRIPT}: exit code {process.returncode}: {said[-1]:.200}")
        finally:
            process.kill()


def verification(bundle: Bundle, found: list[float], device: str) -> Verification:
    """Compare values that came out on a device with the recorded ones: without differences, all must be equal."""
    recorded, metric = bundle.manifest.values, bundle.exported.metric
    interval = bundle.manifest.metrics.get(f"{metric.name}_interval")
    last = recorded[-1] if recorded else 0.0
    off = max(LEAST_OFF, LEAST_OFF * abs(last))
    low, high = interval if isinstance(interval, list) else (last - off, last + off)
    different = differences(bundle.exported, bundle.manifest.data_digest, device)
    exactly = bool(recorded) and found == recorded
    failure: str | None = None
    if len(found) != len(recorded) or not recorded:
        failure = f"{len(found)} results came out, the manifest has {len(recorded)}"
    elif not exactly and not (different and low <= found[-1] <= high):
        at, allowed = len(found) - 1, f"{low:.4f} to {high:.4f}"
        if not different:
            at = next(i for i, pair in enumerate(zip(found, recorded, strict=True)) if len(set(pair)) > 1)
            allowed = "the same floats, since nothing else differs"
        failure = (
            f"the {metric.words_of_many} do not come back: result {at + 1} is {found[at]}, {recorded[at]} in the"
            f" search; allowed: {allowed}"
        )
    return Verification(found, different, (low, high), exactly, failure)
