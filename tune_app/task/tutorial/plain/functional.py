"""Level 2: torch's own loss, which includes the activation."""

import math

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from tune_app.task.tutorial.plain.pieces.data import args, x_train, x_valid, y_train, y_valid
from tune_app.task.tutorial.plain.pieces.found import bs, epochs, lr
from tune_app.task.tutorial.plain.pieces.results import batches_of, due, report
from tune_app.task.tutorial.plain.pieces.tensors import bias, weights

# ---- the model -----------------------------------------------------------------------------------------

loss_func = F.cross_entropy


def model(xb: Tensor) -> Tensor:
    """xb: (n, 784) -> (n, 10)."""
    return xb @ weights + bias


# ---- the loop ------------------------------------------------------------------------------------------

for epoch in range(math.ceil(epochs)):
    for i in range(batches_of(epoch)):
        start_i = i * bs
        end_i = start_i + bs
        xb = x_train[start_i:end_i]
        yb = y_train[start_i:end_i]
        loss = loss_func(model(xb), yb)

        loss.backward()
        with torch.no_grad():
            weights -= weights.grad * lr
            bias -= bias.grad * lr
            weights.grad.zero_()
            bias.grad.zero_()

        if i + 1 in due:
            report(epoch, i, model, loss_func, zip(x_valid.split(bs), y_valid.split(bs), strict=True))

if args.output:
    save_file({"weights": weights.detach(), "bias": bias.detach()}, args.output)
