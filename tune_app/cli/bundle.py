"""tune-app verify and predict: what an exported folder is good for."""

from pathlib import Path

import click

from tune_app.cli.options import PATH, as_json, print_json, run_its_code

MOST_LIKELY = 3


@click.command()
@click.argument("folder", type=PATH)
@click.option("--data", help="As for tune-app search.  [default: as in the search]")
@run_its_code
@as_json
def verify(folder: Path, data: str | None, run_its_code: bool, as_json: bool) -> None:
    """Run the train.py of an exported FOLDER on its own, and say whether the numbers come back.

    They are those of the metric that the search optimized: to the last bit with the same versions, threads and CPU
    model; otherwise the last one within the manifest's interval, or near it (0.02). Code that is not what tune_app
    writes is not run. The test data are not read.

    Example: tune-app verify best
    """
    from tune_app.bundle.verify import run_script, runnable, verification
    from tune_app.errors import TuneAppError

    bundle = runnable(folder, run_its_code)
    metric, values = bundle.exported.metric, []
    for epoch, result in run_script(bundle, data):
        values.append(result[metric.name])
        if not as_json:
            click.echo(f"epoch {epoch:<6g} {metric.words} {values[-1]}")
    outcome = verification(bundle, values)
    low, high = outcome.allowed
    if as_json:
        print_json(
            {
                "comes_back": outcome.comes_back,
                "exactly": outcome.exactly,
                metric.plural: outcome.found,
                "recorded": outcome.recorded,
                "allowed": None if outcome.exactly or not outcome.differences else [low, high],
                "differences": outcome.differences,
            }
        )
    elif outcome.exactly:
        click.echo(f"The same {metric.words_of_many} as in the search.")
    elif outcome.comes_back:
        click.echo(f"The last {metric.words} is within {low:.4f} to {high:.4f}.")
    if not as_json:
        for difference in outcome.differences:
            click.echo(f"  different: {difference}")
    if not outcome.comes_back:
        raise TuneAppError(f"{folder}: {outcome.failure}")


@click.command()
@click.argument("folder", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
@click.option("--invert", is_flag=True, help="The images are dark on bright: turn them round first.")
@as_json
def predict(folder: Path, images: tuple[Path, ...], invert: bool, as_json: bool) -> None:
    """Tell the digits in images of 28x28 pixels, bright on dark, by the weights of an exported FOLDER.

    An IMAGE is a PNG file, an IDX file (also .gz) or a .npy array, with one image or many.

    Example: tune-app predict best digit.png
    """
    import numpy as np

    from tune_app.bundle.images import dark_on_bright, read_images
    from tune_app.bundle.predict import most_likely, probabilities

    read = [255 - read_images(path) if invert else read_images(path) for path in images]
    for path, batch in zip(images, read, strict=True):
        if inverted := int(dark_on_bright(batch).sum()):
            which = "the border is bright" if len(batch) == 1 else f"{inverted} of {len(batch)} borders are bright"
            hint = "without --invert" if invert else "with --invert"
            click.echo(f"Warning: {path}: {which}, MNIST's are dark: if the digit is dark, try {hint}", err=True)
    names = [
        str(path) if len(batch) == 1 else f"{path}[{i}]"
        for path, batch in zip(images, read, strict=True)
        for i in range(len(batch))
    ]
    likely = most_likely(probabilities(folder, np.concatenate(read)), MOST_LIKELY)
    if as_json:
        print_json([{"image": name, **top[0], "top": top} for name, top in zip(names, likely, strict=True)])
        return
    for name, (first, *others) in zip(names, likely, strict=True):
        rest = ", ".join(f"{other['class']} {other['probability']:.4f}" for other in others)
        click.echo(f"{name}: {first['class']} {first['probability']:.4f}, then {rest}")
