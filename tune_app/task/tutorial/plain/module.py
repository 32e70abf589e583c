"""Level 3: an nn.Module holds the parameters, and the update loops over them."""

import math

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tune_app.task.tutorial.plain.pieces.data import args
from tune_app.task.tutorial.plain.pieces.update import fit

# ---- the model -----------------------------------------------------------------------------------------


class MnistLogistic(nn.Module):
    """Logistic regression over parameters that the module holds."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(784, 10) / math.sqrt(784))
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, xb: Tensor) -> Tensor:
        """xb: (n, 784) -> (n, 10)."""
        return xb @ self.weights + self.bias


model = MnistLogistic()
fit(model)

if args.output:
    save_file(model.state_dict(), args.output)
