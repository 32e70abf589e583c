"""The update of levels 3 and 4: whatever parameters the model has."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tune_app.task.tutorial.plain.pieces.data import x_train, x_valid, y_train, y_valid
from tune_app.task.tutorial.plain.pieces.found import bs, epochs, lr
from tune_app.task.tutorial.plain.pieces.results import batches_of, due, report

# ---- the loop ------------------------------------------------------------------------------------------

loss_func = F.cross_entropy


def fit(model: nn.Module) -> None:
    """Train; the update is still made by hand."""
    for epoch in range(math.ceil(epochs)):
        for i in range(batches_of(epoch)):
            start_i = i * bs
            end_i = start_i + bs
            xb = x_train[start_i:end_i]
            yb = y_train[start_i:end_i]
            loss = loss_func(model(xb), yb)

            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= p.grad * lr
                model.zero_grad()

            if i + 1 in due:
                report(epoch, i, model, loss_func, zip(x_valid.split(bs), y_valid.split(bs), strict=True))
