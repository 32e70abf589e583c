"""tune-app predict: which files are images, what is refused and with which words, and that the digits are right."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file

from tests import refused
from tests.bundles import config_of, make_bundle, reseal
from tests.refused import error_of
from tune_app.bundle.images import read_images
from tune_app.bundle.manifest import WEIGHTS, read_bundle
from tune_app.bundle.predict import opened, probabilities
from tune_app.cli import main
from tune_app.errors import TuneAppError
from tune_app.task.images import mnist


@pytest.fixture
def digits(small: mnist.Mnist) -> NDArray[np.uint8]:
    """(3, 28, 28)."""
    return small.valid.x[:3].reshape(3, 28, 28)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files are named as a person in their folder names them."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def png(image: Image.Image, name: str = "x.png") -> Path:
    image.save(name)
    return Path(name)


def npy(array: NDArray[Any], name: str = "x.npy") -> Path:
    np.save(name, array)
    return Path(name)


def refusal(path: Path) -> str:
    """With which words a file is refused, less its name."""
    name, _, words = refused.refusal(read_images, path).partition(": ")
    assert name == str(path)
    return words


# ---- the digits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["scratch", "module", "cnn", "accelerator"])
def test_the_exported_weights_reach_the_exported_accuracy_exactly(tmp_path, small, small_data, level) -> None:
    best = make_bundle(tmp_path, config_of(level), small_data, 1, 1)
    found = probabilities(opened(best), small.valid.x)
    assert found.shape == (500, 10)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    hits = int((found.argmax(axis=1) == small.valid.y).sum())
    assert hits / 500 == read_bundle(best).metrics["valid_accuracy"]


def test_images_of_many_files_are_named_and_classified_in_their_order(made, small, digits) -> None:
    files = [png(Image.fromarray(digits[2])), npy(digits)]
    assert error_of(run(made, *files, "missing.png")) == "missing.png: no such file", "nothing is classified"
    found = json.loads(run(made, *files, "--json").output)
    assert [image["image"] for image in found] == ["x.png", "x.npy[0]", "x.npy[1]", "x.npy[2]"]
    expected = probabilities(opened(made), small.valid.x[:3])
    for image, number in zip(found, (2, 0, 1, 2), strict=True):
        assert image["class"] == expected[number].argmax()
        assert image["probability"] == pytest.approx(expected[number].max(), abs=1e-6)
        assert image["top"][0] == {"class": image["class"], "probability": image["probability"]}
        assert [one["class"] for one in image["top"]] == (-expected[number]).argsort()[:3].tolist()


def test_a_dark_digit_on_white_is_classified_as_given_with_a_warning(made: Path, digits: NDArray[np.uint8]) -> None:
    dark = png(ImageOps.invert(Image.fromarray(digits[0])))
    done = run(made, dark)
    assert done.exit_code == 0
    assert done.stderr == (
        "Warning: x.png: the border is bright, MNIST's are dark: if the digit is dark, try with --invert\n"
    )
    right = run(made, dark, "--invert", "--json")
    assert right.stderr == ""
    assert json.loads(right.stdout)[0]["class"] == 3
    many = run(made, npy(np.concatenate([255 - digits, digits])))
    assert many.stderr.startswith("Warning: x.npy: 3 of 6 borders are bright")
    wrong = run(made, png(Image.fromarray(digits[0])), "--invert")
    assert wrong.stderr.endswith("try without --invert\n")


def test_weights_of_another_model_are_refused(bundle: Path, digits: NDArray[np.uint8]) -> None:
    weights = load_file(bundle / WEIGHTS)
    save_file({"lin.weight": weights["lin.weight"][:5], "lin.bias": weights["lin.bias"]}, bundle / WEIGHTS)
    reseal(bundle)
    assert error_of(run(bundle, npy(digits))).startswith(f"{bundle / WEIGHTS}: holds {{'lin.")
    (bundle / WEIGHTS).write_bytes(b"no weights")
    reseal(bundle)
    assert error_of(run(bundle, npy(digits))).startswith(f"{bundle / WEIGHTS}: not a safetensors file: ")


# ---- files that are images -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA"])
def test_a_png_of_any_mode_gives_its_grey_pixels(digits: NDArray[np.uint8], mode: str) -> None:
    image = Image.fromarray(digits[0]).convert(mode)
    assert (read_images(png(image)) == digits[0].reshape(1, 784)).all()


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 784)])
def test_arrays_of_images_or_rows_are_read(digits: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    assert (read_images(npy(digits.reshape(shape))) == digits.reshape(3, 784)).all()
    assert (read_images(npy(digits.reshape(shape)[0])) == digits[0].reshape(1, 784)).all()


# ---- and those that are not ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_png_that_promises_too_many_pixels_is_one_line(side: int, recwarn: pytest.WarningsRecorder) -> None:
    path = png(Image.new("L", (28, 28)))
    header = struct.pack(">4sIIBBBBB", b"IHDR", side, side, 8, 0, 0, 0, 0)
    content = path.read_bytes()
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    assert refusal(path).startswith("not a PNG file that can be read: Image size (")
    assert not recwarn.list


def test_another_size_and_transparent_and_16_bit_pixels_are_refused(digits: NDArray[np.uint8]) -> None:
    image = Image.fromarray(digits[0]).convert("RGBA")
    image.putalpha(Image.fromarray(digits[0]))
    assert refusal(png(Image.new("L", (28, 27)))) == "images of 28x27 pixels, allowed: 28x28"
    assert refusal(png(image)) == "has transparent pixels, allowed: an image on a background"
    assert refusal(png(Image.fromarray(digits[0].astype(np.uint16) * 256))) == "16 bits a pixel, allowed: 8"


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((28, 28), np.float32), "values are float32, allowed: uint8 from 0 to 255"),
        (np.zeros((0, 28, 28), np.uint8), "0 images, allowed: 1 to 1000000"),
        (np.zeros((2, 1, 28, 28), np.uint8), "an array of shape (2, 1, 28, 28), allowed: (n, 28, 28), (28, 28) or"),
        (np.zeros((), np.uint8), "an array of shape (), allowed: "),
        (np.array([[{}]], object), "not a .npy file that can be read: "),
    ],
)
def test_an_array_that_holds_no_images_is_refused(array: NDArray[Any], words: str) -> None:
    assert refusal(npy(array)).startswith(words)


def test_a_file_of_another_kind_or_an_array_whose_header_promises_too_much_or_that_was_cut_off_is_refused() -> None:
    path = npy(np.zeros((1, 28, 28), np.uint8))
    content = path.read_bytes()
    promising = content.replace(b"(1, 28, 28), }  ", b"(1" + b"0" * 12 + b", 28, 28), }")
    Path("x").write_bytes(b"GIF89a")
    assert refusal(Path("x")) == "not an image file that is known here, allowed: PNG, .npy"
    for damaged in (promising, content[:9], content[:40], content[:150]):
        path.write_bytes(damaged)
        assert refusal(path).startswith("not a .npy file that can be read: ")


def test_a_png_with_a_flipped_bit_is_read_or_refused_and_nothing_else(digits: NDArray[np.uint8]) -> None:
    content = png(Image.fromarray(digits[0])).read_bytes()
    refused = 0
    for at in range(8, len(content)):
        Path("x.png").write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            assert read_images(Path("x.png")).shape == (1, 784)
        except TuneAppError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(content) / 2
