"""The model card of a bundle: its README.md, for people who get only the folder."""

from collections.abc import Iterator
from typing import Any

from tune_app.experiment.experiment import Experiment
from tune_app.task.images.mnist import ORIGINAL
from tune_app.task.task import config_words

CARD = """\
# {title}

{what}

    {words}; seed {seed}, {epochs:g} epochs

It is the best config of {trials} trials that tune_app searched (experiment {experiment}, trial {trial}).

## How good it is
| metric | value |
|--|--|
{metrics}

{selection}

## Use
Train it again (needs {needs}), or let tune_app do it and compare:

    python train.py {data_option}-o weights.safetensors
    tune-app verify .

With the versions, threads and CPU model that are in `manifest.json` it prints the numbers of the search to the last
bit. {data_words}

{predict}`config.yaml` and `config.json` hold the config, `weights.safetensors` the weights, `manifest.json` what
they were made with and the SHA-256 of every file here. The code is in {code}.
{about_data}"""

DIGITS = """\
A {family} that tells which digit, 0 to 9, a grey image of 28x28 pixels shows: the section
"{section}" of [the tutorial](https://pytorch.org/tutorials/beginner/nn_tutorial.html)."""
PREDICT = """\
Tell the digit in a PNG file of 28x28 pixels:

    tune-app predict . digit.png

"""
PREDICT_OWN = """\
Give it an input, which the task's `read_input` reads:

    tune-app predict . FILE

"""
OF_DIGITS = """
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
mean's, and those on the test data are Wilson's for a share, Student's t for other means, and a bootstrap for one
number over all items."""


def model_card(experiment: Experiment, about: dict[str, Any]) -> str:
    """The card as Markdown; `about` is the manifest, less its digests."""
    metric = experiment.history.metric
    confirmed = f"mean_{metric.name}" in about["metrics"]
    of_task = own_task if experiment.history.spec.task.files else digits
    return CARD.format(
        trials=len(experiment.history.trials),
        experiment=about["experiment"],
        trial=about["trial"],
        words=config_words(about["config"]),
        seed=about["seed"],
        epochs=about["epochs"],
        metrics="\n".join(metric_rows(about["metrics"])),
        selection=(CONFIRMED if confirmed else SELECTED).format(metric=metric.words),
        **of_task(experiment, about),
    )


def digits(experiment: Experiment, about: dict[str, Any]) -> dict[str, str]:
    """The parts of the card that a level of the tutorial has of its own."""
    level = experiment.history.spec.task.levels[str(about["config"]["level"])]
    data = experiment.history.spec.data
    source = " ".join(str(data.source).split())
    of_data = MNIST if data.digest == ORIGINAL else OTHER
    return {
        "title": f'Handwritten digits: level "{level.name}" of "What is torch.nn really?"',
        "what": DIGITS.format(
            family="convolutional network" if level.family == "cnn" else "logistic regression",
            section=level.summary,
        ),
        "needs": "torch, numpy, safetensors, annotated-types and pyarrow",
        "data_option": "--data mnist.parquet ",
        "data_words": "The data are a Parquet file with the columns split (train, valid), image\n(784 bytes) and"
        " label; tune_app holds MNIST as such a file.",
        "predict": PREDICT,
        "code": "`tune_app/task/tutorial`",
        "about_data": OF_DIGITS.format(data=of_data.format(train=data.train, valid=data.valid, source=source)),
    }


def own_task(experiment: Experiment, about: dict[str, Any]) -> dict[str, str]:
    """The parts of the card for another task."""
    task, data = experiment.history.spec.task, experiment.history.spec.data
    level = task.levels[str(about["config"]["level"])]
    return {
        "title": f"{task.name}: level {level.name}",
        "what": level.summary or "A model that was trained with this config:",
        "needs": "torch, numpy, safetensors, annotated-types and what the task's files import",
        "data_option": f"--data {data.source} " if data.source else "",
        "data_words": "The data are what the task's `load` returns.",
        "predict": PREDICT_OWN if "read_input" in task.loads else "",
        "code": "`task`, as the search ran it",
        "about_data": "",
    }


def metric_rows(metrics: dict[str, Any]) -> Iterator[str]:
    """A row for each metric, with its interval where there is one."""
    for name, value in metrics.items():
        if name.endswith("_interval") or value is None:
            continue
        low_high = metrics.get(f"{name}_interval")
        interval = f" ({low_high[0]:.4f} to {low_high[1]:.4f})" if low_high else ""
        yield f"| {name.replace('_', ' ')} | {value:.4f}{interval} |"
