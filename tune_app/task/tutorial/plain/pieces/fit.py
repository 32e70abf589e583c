"""The loop of levels 9 to 13."""

import math
from collections.abc import Callable, Iterable
from itertools import islice

import torch
from torch import Tensor, nn

from tune_app.task.tutorial.plain.pieces.found import epochs
from tune_app.task.tutorial.plain.pieces.order import shuffle
from tune_app.task.tutorial.plain.pieces.results import batches_of, due, report

# ---- the loop ------------------------------------------------------------------------------------------

Batches = Iterable[tuple[Tensor, Tensor]]
LossFunction = Callable[[Tensor, Tensor], Tensor]


def loss_batch(
    model: nn.Module, loss_func: LossFunction, xb: Tensor, yb: Tensor, opt: torch.optim.SGD
) -> tuple[float, int]:
    """Train on one batch; its loss and its number of images."""
    loss = loss_func(model(xb), yb)

    loss.backward()
    opt.step()
    opt.zero_grad()

    return loss.item(), len(xb)


def fit(
    model: nn.Module, loss_func: LossFunction, opt: torch.optim.SGD, train_dl: Batches, valid_dl: Batches
) -> None:
    """Train, and print valid accuracy and loss at each result."""
    for epoch in range(math.ceil(epochs)):
        shuffle(epoch)
        for i, (xb, yb) in enumerate(islice(train_dl, batches_of(epoch))):
            model.train()
            loss_batch(model, loss_func, xb, yb, opt)

            if i + 1 in due:
                model.eval()
                report(epoch, i, model, loss_func, valid_dl)
