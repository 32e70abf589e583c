"""An exported folder: what is in it, what damage is found, what verify runs and what it refuses to run."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save

from tests.bundles import config_of, files_of, reseal, run
from tests.refused import error_of
from tune_app.bundle.card import model_card
from tune_app.bundle.export import weights_in
from tune_app.bundle.manifest import CONFIG, FILES, MANIFEST, SCRIPT, read_bundle
from tune_app.bundle.verify import data_for, runnable, verification
from tune_app.errors import TuneAppError
from tune_app.experiment.states import sha256
from tune_app.storage.load import load_experiment
from tune_app.task.images import mnist, sources

DEEP = '{"dict": [["a", ' * 100_000


@pytest.mark.parametrize(
    "document", ["[1", "[]", "3", '{"model": {"a": 1, "b": 2}}', '{"model": {"dict": 3}}', DEEP]
)
def test_a_state_that_somebody_made_up_is_one_line(document: str) -> None:
    state = save({"weights": np.zeros(3)}, {"state": document})
    with pytest.raises(TuneAppError, match=r"^experiment x: the kept state is none of a training: .+$"):
        weights_in(state, "x")


# ---- what is in it -------------------------------------------------------------------------------------


def test_a_bundle_has_its_files_and_a_manifest_with_the_digest_of_each(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {*FILES, MANIFEST, "tune_app"}
    manifest = read_bundle(bundle)
    assert manifest.files == {name: sha256((bundle / name).read_bytes()) for name in files_of(bundle)}
    assert {"tune_app/task/loop/fit.py", "tune_app/task/tutorial/logistic.py"} < set(manifest.files)


def test_the_manifest_says_with_what_on_what_and_from_which_space(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    assert manifest["space"] == config_of("fit")
    assert manifest["settings"]["num_samples"] == 1
    assert manifest["settings"]["seed"] == 0
    assert set(manifest["versions"]) == {"python", "tune_app", "torch", "ray", "optuna", "numpy"}
    assert (manifest["threads"], manifest["device"]) == (1, "cpu")
    assert manifest["written_by"].startswith("tune_app ")
    assert manifest["metrics"]["valid_accuracy"] == manifest["results"]["valid_accuracy"][-1]


def test_the_card_names_metrics_licence_who_made_the_data_and_whether_they_are_mnist(
    made: Path, small_data: Path
) -> None:
    card = (made / "README.md").read_text()
    manifest = read_bundle(made)
    assert f"| valid accuracy | {manifest.metrics['valid_accuracy']:.4f} |" in card
    assert "Not MNIST itself: 2,000 images to train on and 500 to select by" in card
    words = ("CC BY-SA 3.0", "LeCun", "Cortes", "Burges", "Intended use", "python train.py", "tune-app verify")
    assert [each for each in words if each not in card] == []
    experiment = load_experiment("made", made.parent / "experiments")
    data = experiment.history.spec.data.model_copy(update={"digest": mnist.ORIGINAL})
    experiment.history.spec = experiment.history.spec.model_copy(update={"data": data})
    assert "Not MNIST itself" not in model_card(experiment, read_bundle(made).model_dump())


# ---- damage --------------------------------------------------------------------------------------------

READERS = ("verify", "predict", "train")


def refusal(reader: str, folder: Path) -> str:
    """The one line, less "Error: ", with which a command refuses the bundle."""
    Image.new("L", (28, 28)).save("image.png")
    path = folder / CONFIG if reader == "train" else folder
    return error_of(run(reader, path, *(["image.png"] if reader == "predict" else [])))


@pytest.mark.parametrize("name", [*FILES, "tune_app/task/loop/fit.py"])
def test_a_flipped_bit_is_found_in_every_file_and_named_with_both_digests(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    before = sha256(bytes(content))
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert refusal("verify", bundle).startswith(
        f"best/{name}: not the exported file: its SHA-256 is {sha256(bytes(content))}, manifest.json says {before}"
    )


@pytest.mark.parametrize("name", [*FILES, "tune_app/errors.py"])
def test_a_missing_file_is_named_with_its_digest(bundle: Path, name: str) -> None:
    before = sha256((bundle / name).read_bytes())
    (bundle / name).unlink()
    for reader in READERS:
        line = refusal(reader, bundle)
        assert line == f"best/{name}: is missing, manifest.json lists it with SHA-256 {before}"


def test_a_flipped_bit_anywhere_in_the_manifest_is_found(bundle: Path) -> None:
    path = bundle / MANIFEST
    content = path.read_bytes()
    for at in range(0, len(content), 5):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(TuneAppError, match=f"^{path}: "):
            read_bundle(bundle)


def test_a_config_is_changed_in_a_copy_or_outside_its_bundle(bundle: Path, small_data: Path) -> None:
    edited = (bundle / CONFIG).read_text().replace("lr: 0.07", "lr: 0.08")
    for path in (bundle / "mine.yaml", Path("config.yaml")):
        path.write_text(edited)
        done = run("train", path)
        assert done.exit_code == 0, done.stderr
    (bundle / CONFIG).write_text(edited)
    assert refusal("train", bundle).endswith("; allowed: changes in a copy under another name")


# ---- verify --------------------------------------------------------------------------------------------


def test_the_interval_of_a_confirmation_is_what_is_allowed(bundle: Path) -> None:
    metrics = json.loads((bundle / MANIFEST).read_text())["metrics"]
    reseal(bundle, metrics={**metrics, "valid_accuracy_interval": [0.2, 0.3]}, cpu="Elbrus-8C")
    *others, _ = read_bundle(bundle).values
    outcome = verification(runnable(bundle), [*others, 0.25], "cpu")
    assert (outcome.failure, outcome.allowed) == (None, (0.2, 0.3))
    assert verification(runnable(bundle), [*others, 0.31], "cpu").failure


# ---- a stranger's bundle -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [SCRIPT, "tune_app/task/loop/again.py", "tune_app/task/tutorial/logistic.py"])
def test_code_that_is_not_ours_is_not_run_whatever_its_digest(bundle: Path, name: str) -> None:
    code = bundle / name
    code.write_text(code.read_text() + 'open("owned", "w").write("")\n')
    reseal(bundle)
    assert refusal("verify", bundle).startswith(f"best/{name}: not run: it is not what tune_app ")
    reseal(bundle, written_by="tune_app 0.0.9")
    assert "says it is by 'tune_app 0.0.9'; allowed: that version, or" in refusal("verify", bundle)
    assert not Path("owned").exists()


def test_a_config_cannot_bring_code_into_the_script(bundle: Path) -> None:
    config = yaml.safe_load((bundle / CONFIG).read_text())
    for key, value in (("level", "fit\nimport os"), ("lr", "__import__('os')"), ("bs\nimport os", 1)):
        (bundle / CONFIG).write_text(yaml.safe_dump({**config, "config": {**config["config"], key: value}}))
        reseal(bundle)
        assert refusal("verify", bundle).startswith(f"best/{CONFIG}: config: ")


@pytest.mark.parametrize("key", ["seed", "epochs", "results_per_epoch", "threads"])
def test_a_manifest_of_another_training_is_refused(bundle: Path, key: str) -> None:
    said = json.loads((bundle / MANIFEST).read_text())[key]
    reseal(bundle, **{key: said + 1})
    line = refusal("verify", bundle)
    assert line == f"best: manifest.json and config.yaml disagree: {key} is {said + 1} and {said}"


def test_mnist_itself_is_taken_from_the_package_wherever_the_search_had_it(bundle: Path) -> None:
    config = yaml.safe_load((bundle / CONFIG).read_text())
    (bundle / CONFIG).write_text(yaml.safe_dump({**config, "data": "elsewhere.parquet"}))
    reseal(bundle, data_digest=mnist.ORIGINAL)
    assert data_for(runnable(bundle), None) == str(sources.SHIPPED)
