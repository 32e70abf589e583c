import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests import refused
from tune_app.bundle.manifest import CONFIG as CONFIG_FILE
from tune_app.bundle.manifest import FILES, read_manifest, sealed
from tune_app.bundle.retrain import differences, read_exported, train_exported, verdict
from tune_app.experiment.states import sha256
from tune_app.machine import cpu_model, versions
from tune_app.task.images.mnist import Mnist, Split
from tune_app.task.loop.build import usable
from tune_app.task.tutorial import tutorial

pytestmark = pytest.mark.usefixtures("one_thread")  # for train_exported sets the number, too
CONFIG: dict[str, object] = {
    "config": tutorial().complete({"level": "fit", "bs": 50}),
    "seed": 7,
    "epochs": 1.5,
    "results_per_epoch": 2,
    "threads": 1,
    "data": None,
}


def write(folder: Path, config: object, manifest: object = None) -> Path:
    """A config.yaml, with a manifest as the rest of its bundle; a manifest that is text is written as it is."""
    folder.mkdir(exist_ok=True)
    path = folder / CONFIG_FILE
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    if isinstance(manifest, str):
        (folder / "manifest.json").write_text(manifest)
    elif isinstance(manifest, dict):
        for name in set(FILES) - {CONFIG_FILE}:
            (folder / name).write_text(name)
        files = {name: sha256((folder / name).read_bytes()) for name in FILES}
        (folder / "manifest.json").write_text(sealed({**manifest, "files": files}))
    return path


def manifest_of(accuracies: list[float], data: Mnist) -> dict[str, Any]:
    """The manifest that an export of such a search on this machine has."""
    return {
        "experiment": "e",
        "trial": 3,
        **CONFIG,
        "results": {"valid_accuracy": accuracies},
        "data_digest": data.digest(),
        "cpu": cpu_model(),
        "device": "cpu",
        "versions": versions(),
        "metrics": {"valid_accuracy": 0.5, "valid_loss": 1.0, "train_loss": 1.0},
        "space": {"level": "fit"},
        "settings": {},
        "written_by": "tune_app",
    }


def accuracies(path: Path, data: Mnist) -> list[float]:
    return [result.valid["valid_accuracy"] for result in train_exported(read_exported(path), data, "cpu")]


def refusal(path: Path) -> str:
    """The one line with which the file is refused, less its path."""
    line = refused.refusal(read_exported, path)
    assert line.startswith(f"{path}")
    return line.removeprefix(str(path))


# ---- reading a config ----------------------------------------------------------------------------------


def test_an_exported_config_is_read_as_it_was_written(tmp_path):
    exported = read_exported(write(tmp_path, CONFIG))
    assert exported.settings.model_dump(exclude_unset=True) == CONFIG
    assert exported.config == CONFIG["config"]
    assert exported.path == tmp_path / "config.yaml"
    assert exported.recorded is None


def test_all_but_the_config_may_be_left_out(tmp_path):
    exported = read_exported(write(tmp_path, "config: {level: cnn, lr: 5e-2}"))
    settings = exported.settings
    assert (settings.seed, settings.epochs, settings.results_per_epoch, settings.threads) == (0, 5, 4, 1)
    assert settings.data is None
    assert exported.config == {"level": "cnn", **tutorial().levels["cnn"].defaults, "lr": 0.05}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", ", allowed: a mapping with config, seed, epochs"),
        ("[1, 2]", ", allowed: a mapping with config, seed, epochs"),
        ("config: {level: cnn}\nseed: ]\n", ", line 2: not valid YAML: "),
        ({"seed": 3}, ": config is missing"),
        ({**CONFIG, "sede": 1}, ": sede is unknown, did you mean 'seed'? allowed: task, config, seed, epochs"),
        ({**CONFIG, "config": "cnn"}, ": config is 'cnn', allowed: a valid dictionary"),
        ({**CONFIG, "seed": 1.5}, ": seed is 1.5, allowed: a valid integer"),
        ({**CONFIG, "seed": True}, ": seed is True, allowed: a valid integer"),
        ({**CONFIG, "seed": 2**32}, ": seed is 4294967296, allowed: less than 4294967296"),
        ({**CONFIG, "epochs": 0}, ": epochs is 0, allowed: greater than 0"),
        ({**CONFIG, "epochs": 10_001}, ": epochs is 10001, allowed: less than or equal to 10000"),
        ({**CONFIG, "epochs": float("nan")}, ": epochs is nan, allowed: a finite number"),
        ({**CONFIG, "results_per_epoch": 0}, ": results_per_epoch is 0, allowed: greater than or equal to 1"),
        ({**CONFIG, "threads": 1025}, ": threads is 1025, allowed: less than or equal to 1024"),
        ({**CONFIG, "device": "cuda:1"}, ": device is 'cuda:1', allowed: 'cpu' or 'cuda'"),
        ({**CONFIG, "data": 3}, ": data is 3, allowed: a valid string"),
        ({"config": {"level": "cnn", "lr": "fast"}}, ": config: lr is 'fast', allowed: a number"),
        ({"config": {"level": "cnnn"}}, ": config: level 'cnnn' does not exist, did you mean 'cnn'?"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line_with_what_is_allowed(tmp_path, content, line):
    assert line in refusal(write(tmp_path, content))


# ---- reading a manifest --------------------------------------------------------------------------------


OTHERWISE = "not as tune-app export writes it: "


@pytest.mark.parametrize(
    ("content", "said"),
    [(text, "not JSON: ") for text in ("", "{", '{"config": ', "[" * 100_000)]
    + [(text, f"{OTHERWISE}no sha256") for text in ("[]", "null", "3", '{"versions": {}}')],
)
def test_what_is_no_manifest_is_refused_with_its_path(tmp_path, content, said):
    line = refused.refusal(read_exported, write(tmp_path, CONFIG, content))
    assert line.startswith(f"{tmp_path / 'manifest.json'}: {said}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *((key, None, f"no {key}") for key in ("config", "seed", "epochs", "threads", "cpu", "device")),
        *((key, None, f"no {key}") for key in ("data_digest", "versions", "results")),
        ("versions", "1.0", "versions"),
        ("results", "all", "results"),
        ("seed", "7", "seed"),
        ("metrics", {"valid_accuracy": "high"}, "metrics"),
        ("files", [], "files"),
    ],
)
def test_a_manifest_that_lacks_something_or_has_another_kind_of_value_is_refused_with_the_key(
    tmp_path, small, key, value, said
):
    path = write(tmp_path, CONFIG, manifest_of([0.5], small)).with_name("manifest.json")
    manifest = json.loads(path.read_text()) | {key: value}
    path.write_text(sealed({name: one for name, one in manifest.items() if name != key or one is not None}))
    assert refused.refusal(read_manifest, path).startswith(f"{path}: {OTHERWISE}{said}")


# ---- training again ------------------------------------------------------------------------------------


def test_a_config_trains_up_to_its_epoch_with_its_threads(tmp_path, small):
    torch.set_num_threads(2)
    results = list(train_exported(read_exported(write(tmp_path, CONFIG)), small, "cpu"))
    assert [result.epoch for result in results] == [0.5, 1.0, 1.5]
    assert torch.get_num_threads() == 1


def test_the_same_training_is_the_same_and_nothing_differs(tmp_path, small):
    found = accuracies(write(tmp_path / "search", CONFIG), small)
    assert 0.5 < found[-1] < 1
    exported = read_exported(write(tmp_path / "export", CONFIG, manifest_of(found, small)))
    again = [result.valid["valid_accuracy"] for result in train_exported(exported, small, "cpu")]
    assert verdict(exported, small.digest(), "cpu", again) == {"same": True, "recorded": found, "differences": []}


def test_another_last_digit_is_not_the_same(tmp_path, small):
    exported = read_exported(write(tmp_path, CONFIG, manifest_of([0.5, 0.75], small)))
    assert verdict(exported, small.digest(), "cpu", [0.5, 0.75])["same"]
    assert not verdict(exported, small.digest(), "cpu", [0.5, 0.7500000000000001])["same"]
    assert not verdict(exported, small.digest(), "cpu", [0.5])["same"]
    assert not verdict(exported, small.digest(), "cpu", [])["same"]


def test_without_a_manifest_nothing_can_be_said_to_be_the_same(tmp_path, small):
    exported = read_exported(write(tmp_path, CONFIG))
    nothing = ["there is no manifest to compare with"]
    assert verdict(exported, small.digest(), "cpu", [0.5]) == {
        "same": False,
        "recorded": [],
        "differences": nothing,
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 8),
        ("threads", 2),
        ("epochs", 2),
        ("results_per_epoch", 4),
        ("config", tutorial().complete({"level": "fit", "bs": 51})),
    ],
)
def test_a_changed_setting_is_named_with_both_values(tmp_path, small, key, value):
    exported = read_exported(write(tmp_path, {**CONFIG, key: value}, manifest_of([0.5], small)))
    now = float(value) if key == "epochs" else value
    assert differences(exported, small.digest(), "cpu") == [f"{key}: {CONFIG[key]} in the search, {now} now"]


def test_changed_data_are_named_with_both_digests(tmp_path, small):
    labels = small.valid.y.copy()
    labels[-1] = (labels[-1] + 1) % 10
    other = Mnist(small.train, Split(small.valid.x, labels))
    exported = read_exported(write(tmp_path, CONFIG, manifest_of([0.5], small)))
    said = f"data digest: {small.digest()} in the search, {other.digest()} now"
    assert differences(exported, other.digest(), "cpu") == [said]


@pytest.mark.parametrize(
    ("searched_on", "gpu_here", "now"), [("cuda", True, "cuda"), ("cuda", False, "cpu"), ("cpu", True, "cpu")]
)
def test_it_trains_on_the_device_of_the_search_if_that_is_here(
    tmp_path, small, monkeypatch, searched_on, gpu_here, now
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu_here)
    manifest = manifest_of([0.5], small) | {"device": searched_on}
    exported = read_exported(write(tmp_path, {**CONFIG, "device": searched_on}, manifest))
    assert usable(exported.settings.device) == now
    said = [] if now == searched_on else [f"device: {searched_on} in the search, {now} now"]
    assert differences(exported, small.digest(), now) == said


def test_another_processor_and_other_versions_are_named(tmp_path, small):
    manifest = manifest_of([0.5], small) | {"cpu": "Elbrus-8C"}
    manifest["versions"] = versions() | {"torch": "1.0", "ray": "0.1"}  # Ray does not take part in the numbers
    del manifest["versions"]["numpy"]
    found = differences(read_exported(write(tmp_path, CONFIG, manifest)), small.digest(), "cpu")
    assert found == [
        f"CPU model: Elbrus-8C in the search, {cpu_model()} now",
        f"torch: 1.0 in the search, {versions()['torch']} now",
        f"numpy: None in the search, {versions()['numpy']} now",
    ]
