"""tune-app verify and predict: what an exported folder is good for."""

import json
import sys
from collections.abc import Iterator, Sequence, Sized
from contextlib import redirect_stdout
from pathlib import Path

import click

from tune_app.cli.options import PATH, as_json, present, run_its_code


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
@click.option("--data", help="Of a task of one's own, as for tune-app search.  [default: as in the search]")
@run_its_code
@as_json
def predict(folder: Path, inputs: tuple[Path, ...], data: str | None, run_its_code: bool, as_json: bool) -> None:
    """Tell what each INPUT is by the weights of an exported FOLDER.

    Of the tutorial, an INPUT is a PNG file of 28x28 pixels, and the three likeliest digits are printed with their
    probabilities. Of a task of one's own, it is what the task's read_input reads, and what its model gives for each
    item is printed.

    Example: tune-app predict best digit.png
    """
    from tune_app.bundle.images import read_digit
    from tune_app.bundle.predict import digits, opened, outputs
    from tune_app.task.loop.batches import mapped

    exported = opened(folder)
    if exported.task.files:
        with redirect_stdout(sys.stderr):  # where what the task prints goes
            found = outputs(exported, inputs, data, run_its_code)
    elif data:
        raise click.UsageError(f"--data is not for the task {exported.task.name}")
    else:
        found = [[one] for one in digits(exported, [read_digit(path) for path in inputs])]
    named = list(zip(names(inputs, found), (output for of_file in found for output in of_file), strict=True))
    if as_json:
        present([{"input": name, "output": output} for name, output in named])
        return
    for name, output in named:
        click.echo(f"{name}: {json.dumps(mapped(in_short, output))}")


def in_short(number: float) -> float:
    """A number with four digits, for people."""
    return float(f"{number:.4g}") if isinstance(number, float) else number


def names(files: Sequence[Path], items: Sequence[Sized]) -> Iterator[str]:
    """The name of each item of each file: the file's, with a number where it has several."""
    for path, of_file in zip(files, items, strict=True):
        yield from [str(path)] if len(of_file) == 1 else (f"{path}[{i}]" for i in range(len(of_file)))
