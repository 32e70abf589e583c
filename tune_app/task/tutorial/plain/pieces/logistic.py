"""The model of levels 4 to 9."""

from torch import Tensor, nn

# ---- the model -----------------------------------------------------------------------------------------


class MnistLogistic(nn.Module):
    """Logistic regression by a linear layer, with PyTorch's own initialisation."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(784, 10)

    def forward(self, xb: Tensor) -> Tensor:
        """xb: (n, 784) -> (n, 10)."""
        return self.lin(xb)
