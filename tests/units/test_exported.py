"""An exported config, or one like it: read, trained again, and compared with what is recorded beside it."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from tests import refused
from tests.bundles import reseal
from tune_app.bundle.manifest import CONFIG, MANIFEST, read_manifest, sealed
from tune_app.bundle.retrain import Exported, differences, read_exported, train_exported, verdict
from tune_app.machine import cpu_model, versions
from tune_app.task.loop.build import usable
from tune_app.task.tutorial import tutorial

CNN = {"config": {"level": "cnn"}}


def written(folder: Path, config: object) -> Path:
    """A config.yaml."""
    path = folder / CONFIG
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def edited(bundle: Path, **changes: object) -> Exported:
    """A bundle's config with changes of which its manifest does not know."""
    path = written(bundle, yaml.safe_load((bundle / CONFIG).read_text()) | changes)
    reseal(bundle)
    return read_exported(path)


def resealed(bundle: Path, **changes: object) -> Exported:
    """A bundle's config beside a manifest with changes."""
    reseal(bundle, **changes)
    return read_exported(bundle / CONFIG)


def digest_of(exported: Exported) -> str:
    """That of the data of the search."""
    assert exported.recorded
    return exported.recorded.data_digest


# ---- reading a config ----------------------------------------------------------------------------------


def test_all_but_the_config_may_be_left_out(tmp_path):
    exported = read_exported(written(tmp_path, "config: {level: cnn, lr: 5e-2}"))
    settings = exported.settings
    assert (settings.seed, settings.epochs, settings.results_per_epoch, settings.threads) == (0, 5, 4, 1)
    assert exported.config == {"level": "cnn", **tutorial().levels["cnn"].defaults, "lr": 0.05}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", ", allowed: a mapping with config, seed, epochs"),
        ({"seed": 3}, ": config is missing"),
        (CNN | {"sede": 1}, ": sede is unknown, did you mean 'seed'? allowed: task, config, seed, epochs"),
        (CNN | {"seed": 2**32}, ": seed is 4294967296, allowed: less than 4294967296"),
        (CNN | {"epochs": float("nan")}, ": epochs is nan, allowed: a finite number"),
        (CNN | {"device": "cuda:1"}, ": device is 'cuda:1', allowed: 'cpu' or 'cuda'"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line_with_what_is_allowed(tmp_path, content, line):
    path = written(tmp_path, content)
    said = refused.refusal(read_exported, path)
    assert said.startswith(str(path))
    assert line in said


# ---- reading a manifest --------------------------------------------------------------------------------


OTHERWISE = "not as tune-app export writes it: "


@pytest.mark.parametrize(
    ("content", "said"),
    [(text, "not JSON: ") for text in ("", '{"config": ', "[" * 100_000)]
    + [(text, f"{OTHERWISE}no sha256") for text in ("[]", "3", '{"versions": {}}')],
)
def test_what_is_no_manifest_is_refused_with_its_path(tmp_path, content, said):
    (tmp_path / MANIFEST).write_text(content)
    assert refused.refusal(read_exported, written(tmp_path, CNN)).startswith(f"{tmp_path / MANIFEST}: {said}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *((key, None, f"no {key}") for key in ("config", "seed", "epochs", "threads", "cpu", "device")),
        *((key, None, f"no {key}") for key in ("data_digest", "versions", "results")),
        ("versions", "1.0", "versions"),
        ("seed", "7", "seed"),
        ("metrics", {"valid_accuracy": "high"}, "metrics"),
    ],
)
def test_a_manifest_that_lacks_something_or_has_another_kind_of_value_is_refused_with_the_key(
    bundle, key, value, said
):
    path = bundle / MANIFEST
    manifest = json.loads(path.read_text()) | {key: value}
    path.write_text(sealed({name: one for name, one in manifest.items() if name != key or one is not None}))
    assert refused.refusal(read_manifest, path).startswith(f"{path}: {OTHERWISE}{said}")


# ---- training again: that the numbers are the same, tests/processes/test_verify.py proves ---------------


def test_a_config_trains_up_to_its_epoch_with_its_threads(tmp_path, small, one_thread):
    torch.set_num_threads(2)
    path = written(tmp_path, {"config": {"level": "fit"}, "epochs": 1.5, "results_per_epoch": 2, "threads": 1})
    results = list(train_exported(read_exported(path), small, "cpu"))
    assert [result.epoch for result in results] == [0.5, 1.0, 1.5]
    assert torch.get_num_threads() == 1


def test_another_last_digit_is_not_the_same(bundle):
    exported = resealed(bundle, results={"valid_accuracy": [0.5, 0.75]})
    same = {"same": True, "recorded": [0.5, 0.75], "differences": []}
    assert verdict(exported, digest_of(exported), "cpu", [0.5, 0.75]) == same
    for others in ([0.5, 0.7500000000000001], [0.5], []):
        assert not verdict(exported, digest_of(exported), "cpu", others)["same"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threads", 2),
        ("config", tutorial().complete({"level": "fit", "bs": 51})),
    ],
)
def test_a_changed_setting_is_named_with_both_values(bundle, key, value):
    then = getattr(read_manifest(bundle / MANIFEST), key)
    exported = edited(bundle, **{key: value})
    assert differences(exported, digest_of(exported), "cpu") == [f"{key}: {then} in the search, {value} now"]


@pytest.mark.parametrize(
    ("searched_on", "gpu_here", "now"), [("cuda", True, "cuda"), ("cuda", False, "cpu"), ("cpu", True, "cpu")]
)
def test_it_trains_on_the_device_of_the_search_if_that_is_here(bundle, monkeypatch, searched_on, gpu_here, now):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu_here)
    edited(bundle, device=searched_on)
    exported = resealed(bundle, device=searched_on)
    assert usable(exported.settings.device) == now
    said = [] if now == searched_on else [f"device: {searched_on} in the search, {now} now"]
    assert differences(exported, digest_of(exported), now) == said


def test_another_processor_other_data_and_other_versions_are_named(bundle):
    others = versions() | {"torch": "1.0", "ray": "0.1"}  # Ray does not take part in the numbers
    del others["numpy"]
    exported = resealed(bundle, cpu="Elbrus-8C", versions=others, data_digest="then")
    assert differences(exported, "now", "cpu") == [
        f"CPU model: Elbrus-8C in the search, {cpu_model()} now",
        "data digest: then in the search, now now",
        f"torch: 1.0 in the search, {versions()['torch']} now",
        f"numpy: None in the search, {versions()['numpy']} now",
    ]
