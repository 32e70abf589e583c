"""Run a bundle's train.py in a process of its own, and say whether the recorded numbers come back.

Nothing in a bundle is trusted: its train.py runs only if it is, byte for byte, what this version of tune_app
writes for its config.yaml, and what runs is that text.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tune_app.bundle.manifest import CONFIG, MANIFEST, SCRIPT, Manifest, read, read_bundle
from tune_app.bundle.retrain import Exported, differences, exported_from
from tune_app.bundle.script import train_script
from tune_app.errors import TuneAppError
from tune_app.machine import versions
from tune_app.task.images import mnist, sources
from tune_app.task.task import Metric

CONSTANTS = ("seed", "epochs", "results_per_epoch", "threads")
"""What a script has as constants besides the config."""
LEAST_OFF = 0.02
"""How far the last value may be off, as such and for each 1 of it, where the numbers cannot be the same and no
interval is known. On two threads instead of one, the accuracy of the tutorial's CNN was up to 0.005 off in four
epochs of three seeds, and its loss by 0.008 after two.
"""
RESULT = re.compile(
    r"epoch (?P<epoch>\S+) +valid accuracy (?P<valid_accuracy>\S+) +valid loss (?P<valid_loss>\S+)\n"
)


@dataclass(frozen=True)
class Bundle:
    """A bundle that may be run: its digests fit, and its script is ours."""

    folder: Path
    manifest: Manifest
    exported: Exported
    script: str


@dataclass(frozen=True)
class Verification:
    """What was recorded, what came back, and what differs from the search; if nothing does, all must be equal."""

    metric: Metric
    recorded: list[float]
    found: list[float]
    differences: list[str]
    allowed: tuple[float, float]
    """Where the last value may lie if something differs."""

    @property
    def exactly(self) -> bool:
        """Whether every value is the same float."""
        return bool(self.recorded) and self.found == self.recorded

    @property
    def comes_back(self) -> bool:
        """Whether the numbers are those of the bundle, as exactly as can be expected."""
        low, high = self.allowed
        near = len(self.found) == len(self.recorded) > 0 and low <= self.found[-1] <= high
        return self.exactly or (bool(self.differences) and near)

    @property
    def failure(self) -> str:
        """Why they are not."""
        if len(self.found) != len(self.recorded) or not self.recorded:
            return f"{len(self.found)} results came out, the manifest has {len(self.recorded)}"
        low, high = self.allowed
        allowed = f"{low:.4f} to {high:.4f}" if self.differences else "the same floats, since nothing else differs"
        at = next(i for i, pair in enumerate(zip(self.found, self.recorded, strict=True)) if len(set(pair)) > 1)
        at = -1 if self.differences else at
        return (
            f"the {self.metric.words_of_many} do not come back: result {at % len(self.found) + 1} is"
            f" {self.found[at]}, {self.recorded[at]} in the search; allowed: {allowed}"
        )


def runnable(folder: Path) -> Bundle:
    """Check a bundle; `TuneAppError` for one that is damaged or whose script is not ours."""
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
    script = train_script(
        exported.config, settings.seed, settings.epochs, settings.results_per_epoch, settings.threads
    )
    if read(folder / SCRIPT) != script.encode():
        raise TuneAppError(
            f"{folder / SCRIPT}: not run: it is not what tune_app {versions()['tune_app']} writes for {CONFIG}, and"
            f" the bundle says it is by {manifest.written_by!r:.40}; allowed: that version, or to run it yourself"
        )
    return Bundle(folder, manifest, exported, script)


def load_data(bundle: Bundle, source: str | None) -> mnist.Mnist:
    """The images that the bundle was trained on: from `source`, the package, or where the search had them.

    A bundle from elsewhere opens no connection: a URL is asked for only if a person names it.
    """
    original = bundle.manifest.data_digest == mnist.original_digest()
    named = None if original else bundle.exported.settings.data
    if source is None and named is not None and (named == "tutorial" or "://" in named):
        raise TuneAppError(f"{bundle.folder}: trained on {named:.200}; allowed: --data {named:.200} to download it")
    images = sources.load(source or named)
    if images.digest() != bundle.manifest.data_digest:
        raise TuneAppError(
            f"{source or named or sources.SHIPPED}: not the images of the search: their digest is"
            f" {images.digest()}, the manifest says {bundle.manifest.data_digest}; allowed: --data with"
            " those images"
        )
    return images


def run_script(bundle: Bundle, images: mnist.Mnist) -> Iterator[tuple[float, dict[str, float]]]:
    """Train by the bundle's script; the epoch and the metrics of each result, as it comes."""
    with tempfile.TemporaryDirectory(prefix="tune_app-") as folder:
        script, data, errors = (Path(folder) / name for name in (SCRIPT, "mnist.parquet", "stderr"))
        script.write_text(bundle.script, encoding="utf-8")
        write_parquet(images, data)
        command = [sys.executable, "-sP", str(script), "--data", str(data)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env["PYTHONPATH"] = os.pathsep.join(search_path())
        run = partial(subprocess.Popen, command, cwd=folder, env=env, stdin=subprocess.DEVNULL, text=True)
        with errors.open("w") as stderr, run(stdout=subprocess.PIPE, stderr=stderr) as process:
            try:
                for line in process.stdout or ():
                    if result := RESULT.fullmatch(line):
                        values = {name: float(value) for name, value in result.groupdict().items()}
                        yield values.pop("epoch"), values
                if process.wait():
                    said = errors.read_text(errors="replace").strip().splitlines() or ["without a word"]
                    raise TuneAppError(f"{bundle.folder / SCRIPT}: exit code {process.returncode}: {said[-1]:.200}")
            finally:
                process.kill()


def search_path() -> list[str]:
    """Where this process finds packages, however they were installed, without the current directory."""
    return [entry for entry in map(os.path.abspath, sys.path) if entry != str(Path.cwd())]


def write_parquet(images: mnist.Mnist, path: Path) -> None:
    """The images that a script may read, wherever they come from: train and valid, no others."""
    splits = (("train", images.train), ("valid", images.valid))
    tables = [
        pa.table(
            {
                "split": pa.array([name] * len(split.y)),
                "image": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(mnist.IMAGE), len(split.x), [None, pa.py_buffer(split.x)]
                ),
                "label": split.y,
            }
        )
        for name, split in splits
    ]
    pq.write_table(pa.concat_tables(tables), path, compression="none")


def verification(bundle: Bundle, images: mnist.Mnist, found: list[float]) -> Verification:
    """Compare with what is recorded."""
    recorded, metric = bundle.manifest.values, bundle.exported.metric
    interval = bundle.manifest.metrics.get(f"{metric.name}_interval")
    last = recorded[-1] if recorded else 0.0
    off = max(LEAST_OFF, LEAST_OFF * abs(last))
    low, high = interval if isinstance(interval, list) else (last - off, last + off)
    return Verification(metric, recorded, found, differences(bundle.exported, images), (low, high))
