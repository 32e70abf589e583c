"""Train an exported config again, for the train.py of a bundle."""

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from .build import build, usable
from .data import as_arrays, digest, whole_path
from .fit import train
from .state import exported, save


def train_again(
    *,
    modules: Mapping[str, str],
    level: str,
    metrics: Sequence[str],
    config: Mapping[str, Any],
    seed: int,
    epochs: int,
    until: float,
    results_per_epoch: int,
    threads: int,
    device: str,
) -> None:
    """Train as the command line says, and print a line for each result.

    modules: of each function of the task; its own files lie in the folder `task` beside the script.
    metrics: their names, such as valid_accuracy of the function accuracy. epochs: of the whole training, of which
    this is the part `until` an epoch. device: that of the search; the CPU where torch can use no GPU. With --json,
    the first line is the digest of the data.
    """
    parser = argparse.ArgumentParser(description="Train the exported config again.")
    parser.add_argument("--data", help="what the task's load gets, such as a file")
    parser.add_argument("-o", "--output", help="where to save the weights, as a safetensors file")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    arguments = parser.parse_args()
    torch.set_num_threads(threads)  # another number of threads sums in another order, and rounds differently
    sys.path.insert(0, str(Path(sys.argv[0]).absolute().with_name("task")))
    its = {name: getattr(import_module(module), name) for name, module in modules.items()}
    data = load_from(its["load"], arguments.data) if "load" in its else None
    if arguments.json:
        print(json.dumps({"data": digest(data)}), flush=True)
    device = usable(device)
    lesson = build(its[level], data, config, epochs=epochs, seed=seed, device=device)
    measures = {name: its[name.removeprefix("valid_")] for name in metrics}
    numbers = train(lesson, until, seed=seed, metrics=measures, results_per_epoch=results_per_epoch, device=device)
    for result in numbers:
        if arguments.json:
            print(json.dumps({"epoch": result.epoch, "device": device, **result.valid}), flush=True)
        else:
            words = "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in result.valid.items())
            print(f"epoch {result.epoch:<6g} {words}", flush=True)
    if arguments.output:
        safetensors.torch.save_file(exported(save(lesson)), arguments.output)


def load_from(load: Callable[..., Any], source: str | None) -> Any:
    """The data that a task's `load` returns for a source, or without one; tensors become arrays.

    A file or folder is given by its whole path, since what trains on it may run in another folder. Raises
    `TypeError` for a source where `load` takes none.
    """
    parameters = inspect.signature(load).parameters.values()
    if source is None:
        return as_arrays(load(*(None for parameter in parameters if parameter.default is parameter.empty)))
    if not parameters:
        raise TypeError(f"{load.__name__}() takes no source, allowed: without --data")
    return as_arrays(load(whole_path(source)))
