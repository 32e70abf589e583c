"""tune-app predict: which files are images, what is refused and with which words, and that the digits are right."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file

from tests import refused
from tests.bundles import config_of, make_bundle, reseal
from tests.refused import error_of
from tune_app.bundle.images import read_digit
from tune_app.bundle.manifest import WEIGHTS, read_bundle
from tune_app.bundle.predict import digits as likeliest
from tune_app.bundle.predict import opened
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


def refusal(path: Path) -> str:
    """With which words a file is refused, less its name."""
    name, _, words = refused.refusal(read_digit, path).partition(": ")
    assert name == str(path)
    return words


# ---- the digits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["scratch", "module", "cnn", "accelerator"])
def test_the_exported_weights_reach_the_exported_accuracy_exactly(tmp_path, small, small_data, level) -> None:
    best = make_bundle(tmp_path, config_of(level), small_data, 1, 1)
    found = likeliest(opened(best), list(small.valid.x))
    hits = sum(int(next(iter(likely))) == label for likely, label in zip(found, small.valid.y, strict=True))
    assert hits / 500 == read_bundle(best).metrics["valid_accuracy"]
    for likely in found:
        assert list(likely.values()) == sorted(likely.values(), reverse=True)
        assert 0.3 < sum(likely.values()) < 1.00001  # three of ten


def test_digits_are_told_in_the_order_of_the_files_dark_ones_on_white_as_bright_ones(made, digits) -> None:
    files = [png(Image.fromarray(digits[2])), png(ImageOps.invert(Image.fromarray(digits[0])), "dark.png")]
    assert error_of(run(made, *files, "missing.png")) == "missing.png: no such file", "nothing is told"
    expected = likeliest(opened(made), list(digits.reshape(3, 784)))
    found = json.loads(run(made, *files, "--json").stdout)
    assert [(one["input"], list(one["output"])) for one in found] == [
        ("x.png", list(expected[2])),
        ("dark.png", list(expected[0])),
    ]
    assert run(made, *files).stdout.startswith('x.png: {"')
    assert run(made, *files, "--data", "x").exit_code == 2


def test_weights_of_another_model_are_refused(bundle: Path, digits: NDArray[np.uint8]) -> None:
    weights = load_file(bundle / WEIGHTS)
    save_file({"lin.weight": weights["lin.weight"][:5], "lin.bias": weights["lin.bias"]}, bundle / WEIGHTS)
    reseal(bundle)
    digit = png(Image.fromarray(digits[0]))
    assert error_of(run(bundle, digit)).startswith(f"{bundle / WEIGHTS}: holds {{'lin.")
    (bundle / WEIGHTS).write_bytes(b"no weights")
    reseal(bundle)
    assert error_of(run(bundle, digit)).startswith(f"{bundle / WEIGHTS}: not a safetensors file: ")


# ---- files that are images -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA"])
def test_a_png_of_any_mode_gives_its_grey_pixels(digits: NDArray[np.uint8], mode: str) -> None:
    image = Image.fromarray(digits[0]).convert(mode)
    assert (read_digit(png(image)) == digits[0].reshape(784)).all()


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
    assert refusal(png(Image.new("L", (28, 27)))) == "28x27 pixels, allowed: 28x28"
    assert refusal(png(image)) == "has transparent pixels, allowed: an image on a background"
    assert refusal(png(Image.fromarray(digits[0].astype(np.uint16) * 256))) == "16 bits a pixel, allowed: 8"


def test_other_files_are_refused() -> None:
    Path("x").write_bytes(b"GIF89a")
    assert refusal(Path("x")).startswith("not a PNG file that can be read: cannot identify")


def test_a_png_with_a_flipped_bit_is_read_or_refused_and_nothing_else(digits: NDArray[np.uint8]) -> None:
    content = png(Image.fromarray(digits[0])).read_bytes()
    refused = 0
    for at in range(8, len(content)):
        Path("x.png").write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            assert read_digit(Path("x.png")).shape == (784,)
        except TuneAppError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(content) / 2
