"""The folder that `tune-app export` writes: its files, and the manifest with their digests.

Every reader of a bundle calls `read_bundle` first. The digests find damage and mix-ups; they do not prove who
wrote the files.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_app.errors import TuneAppError
from tune_app.experiment.states import sha256
from tune_app.task.task import Config

CONFIG, CONFIG_JSON, WEIGHTS = "config.yaml", "config.json", "weights.safetensors"
SCRIPT, CARD, MANIFEST = "train.py", "README.md", "manifest.json"
FILES = (CONFIG, CONFIG_JSON, WEIGHTS, SCRIPT, CARD)
"""The files that every bundle has, besides its code. The manifest holds the digest of each file, and its own."""
SEAL = "sha256"

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class Recorded(BaseModel):
    """The results of a training, its settings, data and machine: another training is compared with them."""

    model_config = ConfigDict(strict=True)

    config: Config
    seed: int
    epochs: float
    max_epochs: int | None = None
    """The epochs of a whole training, for schedules."""
    results_per_epoch: int
    threads: int
    metric: str = "valid_accuracy"
    """The metric that the search optimized, by which another training is compared."""
    results: dict[str, list[float]]
    """Each metric at each result, by its name."""
    data_digest: str
    cpu: str | None
    device: str | None
    versions: dict[str, str]

    @property
    def values(self) -> list[float]:
        """The metric at each result."""
        return self.results[self.metric]


class Manifest(Recorded):
    """The content of manifest.json."""

    experiment: str
    trial: int
    data: str | None
    metrics: dict[str, float | Interval]
    """The values of the exported weights by name, such as valid_accuracy, valid_loss, train_loss.

    Where the winner was confirmed also, of the metric M that the search optimized: M_interval, [low, high], in
    which another seed's lies, mean_M over fresh seeds and mean_M_interval; test_accuracy, test_loss and theirs.
    All intervals are at 95 %.
    """
    space: dict[str, Any]
    settings: dict[str, Any]
    written_by: str
    """tune_app and the version that wrote the bundle."""
    files: dict[str, str]
    """SHA-256 of each file by its path in the folder."""


def sealed(manifest: dict[str, Any]) -> str:
    """The text of manifest.json. Its last value is the SHA-256 of the text without that value."""
    text = json.dumps({**manifest, SEAL: ""}, indent=2, ensure_ascii=False) + "\n"
    before, after = text[: -len('"\n}\n')], text[-len('"\n}\n') :]
    return before + sha256(text.encode()) + after


def read_bundle(folder: Path) -> Manifest:
    """The manifest of a bundle in which every file is what it was when it was exported.

    Raises `TuneAppError` that names the file that is missing or another one, with its digest and the manifest's.
    """
    manifest = read_manifest(folder / MANIFEST)
    for name in dict.fromkeys((*FILES, *manifest.files)):
        path, expected = folder / name, manifest.files.get(name)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise TuneAppError(
                f"{folder / MANIFEST}: not as tune-app export writes it: {name!r:.60} leads elsewhere"
            )
        if expected is None:
            raise TuneAppError(f"{folder / MANIFEST}: not as tune-app export writes it: no digest of {name}")
        if not path.exists():
            raise TuneAppError(f"{path}: is missing, {MANIFEST} lists it with SHA-256 {expected}")
        found = sha256(read(path))
        if found != expected:
            raise TuneAppError(
                f"{path}: not the exported file: its SHA-256 is {found}, {MANIFEST} says {expected}"
                + ("; allowed: changes in a copy under another name" if name == CONFIG else "")
            )
    return manifest


def manifest_beside(path: Path) -> Manifest | None:
    """The manifest of the bundle that a config file lies in; None if it lies in none."""
    return read_bundle(path.parent) if (path.parent / MANIFEST).exists() else None


def read_manifest(path: Path) -> Manifest:
    """The manifest alone; `TuneAppError` if it is no longer what was written."""
    content = read(path)
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TuneAppError(f"{path}: not JSON: {error}") from None
    expected = manifest.get(SEAL) if isinstance(manifest, dict) else None
    if not isinstance(expected, str):
        raise TuneAppError(f"{path}: not as tune-app export writes it: no {SEAL}")
    found = sha256(content.replace(expected.encode(), b"", 1)) if expected else sha256(content)
    if found != expected:
        raise TuneAppError(f"{path}: not the exported file: its SHA-256 is {found}, it says {expected}")
    try:
        return Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        wrong = f"no {key}" if first["type"] == "missing" else f"{key} is {first['input']!r:.60}"
        raise TuneAppError(f"{path}: not as tune-app export writes it: {wrong}") from None


def read(path: Path) -> bytes:
    """The file's bytes; a pipe or device is no file of a bundle."""
    try:
        if path.exists() and not path.is_file():
            raise TuneAppError(f"{path}: is no file")
        return path.read_bytes()
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be read: {error.strerror or error}") from None
