"""tune-app verify and predict: what an exported folder is good for."""

import json
import sys
from collections.abc import Iterator, Sequence, Sized
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tune_app.cli.options import PATH, as_json, present, run_its_code

if TYPE_CHECKING:
    from tune_app.bundle.retrain import Exported

MOST_LIKELY = 3


@click.command()
@click.argument("folder", type=PATH)
@click.option("--data", help="As for tune-app search.  [default: as in the search]")
@run_its_code
@as_json
def verify(folder: Path, data: str | None, run_its_code: bool, as_json: bool) -> None:
    """Run the train.py of an exported FOLDER on its own, and say whether the numbers come back.

    They are those of the metric that the search optimized: to the last bit with the same versions, threads, CPU
    model and device; otherwise the last one within the manifest's interval, or near it (0.02). Code that is not
    what tune_app writes is not run. The test data are not read.

    Example: tune-app verify best
    """
    from tune_app.bundle.verify import run_script, runnable, verification
    from tune_app.errors import TuneAppError

    bundle = runnable(folder, run_its_code)
    metric, values = bundle.exported.metric, list[float]()
    device: str = bundle.exported.settings.device
    for epoch, used, result in run_script(bundle, data):
        device = used
        values.append(result[metric.name])
        if not as_json:
            click.echo(f"epoch {epoch:<6g} {metric.words} {values[-1]}")
    outcome = verification(bundle, values, device)
    low, high = outcome.allowed
    if as_json:
        present(
            {
                "comes_back": outcome.failure is None,
                "exactly": outcome.exactly,
                metric.plural: outcome.found,
                "recorded": bundle.manifest.values,
                "allowed": None if outcome.exactly or not outcome.differences else [low, high],
                "differences": outcome.differences,
            }
        )
    elif outcome.exactly:
        click.echo(f"The same {metric.words_of_many} as in the search.")
    elif outcome.failure is None:
        click.echo(f"The last {metric.words} is within {low:.4f} to {high:.4f}.")
    if not as_json:
        for difference in outcome.differences:
            click.echo(f"  different: {difference}")
    if outcome.failure:
        raise TuneAppError(f"{folder}: {outcome.failure}")


@click.command()
@click.argument("folder", type=PATH)
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="INPUT...")
@click.option("--invert", is_flag=True, help="The images are dark on bright: turn them round first.")
@click.option("--data", help="Of a task of one's own, as for tune-app search.  [default: as in the search]")
@run_its_code
@as_json
def predict(
    folder: Path, inputs: tuple[Path, ...], invert: bool, data: str | None, run_its_code: bool, as_json: bool
) -> None:
    """Tell the digits in images of 28x28 pixels, bright on dark, by the weights of an exported FOLDER.

    An INPUT is a PNG file, or a .npy array with one image or many. Of a task of one's own, it is what the task's
    read_input reads, and what its model gives for each item is printed.

    Example: tune-app predict best digit.png
    """
    from tune_app.bundle.predict import opened, outputs
    from tune_app.task.loop.batches import mapped

    exported = opened(folder)
    own = bool(exported.task.files)
    if (invert and own) or (data and not own):
        raise click.UsageError(f"{'--invert' if own else '--data'} is not for the task {exported.task.name}")
    if not own:
        classify(exported, inputs, invert, as_json)
        return
    with redirect_stdout(sys.stderr):  # where what the task prints goes
        found = outputs(exported, inputs, data, run_its_code)
    named = list(zip(names(inputs, found), (output for of_file in found for output in of_file), strict=True))
    if as_json:
        present([{"input": name, "output": output} for name, output in named])
        return
    for name, output in named:
        click.echo(f"{name}: {json.dumps(mapped(in_short, output))}")


def in_short(number: float) -> float:
    """A number with four digits, for people."""
    return float(f"{number:.4g}") if isinstance(number, float) else number


def classify(exported: "Exported", images: Sequence[Path], invert: bool, as_json: bool) -> None:
    """Print the digits in images."""
    import numpy as np

    from tune_app.bundle.images import dark_on_bright, read_images
    from tune_app.bundle.predict import most_likely, probabilities

    read = [255 - read_images(path) if invert else read_images(path) for path in images]
    for path, batch in zip(images, read, strict=True):
        if inverted := int(dark_on_bright(batch).sum()):
            which = "the border is bright" if len(batch) == 1 else f"{inverted} of {len(batch)} borders are bright"
            hint = "without --invert" if invert else "with --invert"
            click.echo(f"Warning: {path}: {which}, MNIST's are dark: if the digit is dark, try {hint}", err=True)
    likely = most_likely(probabilities(exported, np.concatenate(read)), MOST_LIKELY)
    named = list(zip(names(images, read), likely, strict=True))
    if as_json:
        present([{"image": name, **top[0], "top": top} for name, top in named])
        return
    for name, (first, *others) in named:
        rest = ", ".join(f"{other['class']} {other['probability']:.4f}" for other in others)
        click.echo(f"{name}: {first['class']} {first['probability']:.4f}, then {rest}")


def names(files: Sequence[Path], items: Sequence[Sized]) -> Iterator[str]:
    """The name of each item of each file: the file's, with a number where it has several."""
    for path, of_file in zip(files, items, strict=True):
        yield from [str(path)] if len(of_file) == 1 else (f"{path}[{i}]" for i in range(len(of_file)))
