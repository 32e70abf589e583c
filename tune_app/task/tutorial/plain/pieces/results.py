"""When to look at the validation images, and what is printed then."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from tune_app.task.tutorial.plain.pieces.data import x_train, y_valid
from tune_app.task.tutorial.plain.pieces.found import bs, epochs, results_per_epoch

# ---- results: several times an epoch, on the validation images -----------------------------------------

batches_per_epoch = (len(x_train) - 1) // bs + 1
due = [math.ceil(batches_per_epoch * j / results_per_epoch) for j in range(1, results_per_epoch + 1)]


def batches_of(epoch: int) -> int:
    """How many batches of an epoch to train on: all, but in the last epoch those up to the last result."""
    results_left = round((epochs - epoch) * results_per_epoch)
    return due[min(results_left, results_per_epoch) - 1]


@torch.no_grad()
def report(
    epoch: int,
    i: int,
    model: Callable[[Tensor], Tensor],
    loss_func: Callable[[Tensor, Tensor], Tensor],
    valid: Iterable[tuple[Tensor, Tensor]],
) -> None:
    """After batch `i` of `epoch`: print the accuracy and the mean loss of the model on the validation batches."""
    outputs = [(model(xb), yb) for xb, yb in valid]
    hits = sum(int((out.argmax(dim=1) == yb).sum()) for out, yb in outputs)
    losses = [loss_func(out, yb).item() * len(yb) for out, yb in outputs]
    trained = epoch + (due.index(i + 1) + 1) / results_per_epoch
    n = len(y_valid)
    print(f"epoch {trained:<6g} valid accuracy {hits / n}  valid loss {np.sum(losses) / n}", flush=True)
