"""The model card of a bundle: its README.md, for people who get the folder without its story."""

from collections.abc import Iterator
from typing import Any

from tune_app.experiment.history import Experiment
from tune_app.task.images.mnist import original_digest
from tune_app.task.task import config_words

CARD = """\
# Handwritten digits: level "{level}" of "What is torch.nn really?"

A {family} that tells which digit, 0 to 9, a grey image of 28x28 pixels shows:
the section "{section}" of [the tutorial](https://pytorch.org/tutorials/beginner/nn_tutorial.html), with
the best config of {trials} trials that tune_app searched (experiment {experiment}, trial {trial}).

    {words}; seed {seed}, {epochs:g} epochs

## How good it is
| metric | value |
|--|--|
{metrics}

{selection}

## Use
Train it again in plain PyTorch (needs torch, numpy, safetensors and pyarrow), or let tune_app do it and compare:

    python train.py --data mnist.parquet -o weights.safetensors
    tune-app verify .

`train.py` reads a Parquet file with the columns split (train, valid), image (784 bytes) and label; tune_app holds
MNIST as such a file. With the versions, threads and CPU model that are in `manifest.json` it prints the
accuracies and losses of the search to the last bit.

Classify images, PNG, IDX or .npy, a bright digit on a dark ground:

    tune-app predict . digit.png

`config.yaml` and `config.json` hold the config, `weights.safetensors` the weights, `manifest.json` what they were
made with and the SHA-256 of every file here.

## Intended use
Learning, and trying out hyperparameter search. It knows digits that are centred and scaled as MNIST's are, and
answers with a digit whatever an image shows; nothing that matters should depend on it.

## Data
{data}
"""

MNIST = """\
MNIST by Yann LeCun, Corinna Cortes and Christopher J.C. Burges, licence
[CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/): trained on the first {train:,} images of its
training file, selected by the next {valid:,}."""

OTHER = """\
Not MNIST itself: {train:,} images to train on and {valid:,} to select by, which the search was given as

    {source}

Their licence is theirs. MNIST, by Yann LeCun, Corinna Cortes and Christopher J.C. Burges, is under
[CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/)."""

SELECTED = """\
The {metric} is that of the best result of many, chosen by it, and so a little better than the model."""
CONFIRMED = """\
The config was confirmed by training it with fresh seeds, and these are the weights of the seed with the median
{metric}. Intervals are at 95 %: that of the {metric} is where another seed's would lie, that of the mean is the
mean's, and those on the test images are Wilson's for an accuracy and Student's t for a loss."""


def model_card(experiment: Experiment, about: dict[str, Any]) -> str:
    """The card as Markdown; `about` is the manifest, less its digests."""
    level = experiment.history.spec.task.levels[str(about["config"]["level"])]
    data = experiment.history.spec.data
    original = data.digest == original_digest()
    metric = experiment.history.metric
    source = " ".join(str(data.source).split())
    return CARD.format(
        level=level.name,
        family="convolutional network" if level.family == "cnn" else "logistic regression",
        section=level.summary,
        trials=len(experiment.history.trials),
        experiment=about["experiment"],
        trial=about["trial"],
        words=config_words(about["config"]),
        seed=about["seed"],
        epochs=about["epochs"],
        metrics="\n".join(metric_rows(about["metrics"])),
        selection=(CONFIRMED if f"{metric.name}_interval" in about["metrics"] else SELECTED).format(
            metric=metric.words
        ),
        data=(MNIST if original else OTHER).format(train=data.train, valid=data.valid, source=source),
    )


def metric_rows(metrics: dict[str, Any]) -> Iterator[str]:
    """A row for each metric, with its interval where there is one."""
    for name, value in metrics.items():
        if name.endswith("_interval") or value is None:
            continue
        low_high = metrics.get(f"{name}_interval")
        interval = f" ({low_high[0]:.4f} to {low_high[1]:.4f})" if low_high else ""
        yield f"| {name.replace('_', ' ')} | {value:.4f}{interval} |"
