"""The layers of levels 11 to 13."""

from collections.abc import Callable

from torch import Tensor, nn

from tune_app.task.tutorial.plain.pieces.found import width

# ---- the model -----------------------------------------------------------------------------------------


class Lambda(nn.Module):
    """A layer from a function."""

    def __init__(self, func: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.func = func

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function."""
        return self.func(x)


channels = 16 * width
convolutions = [
    nn.Conv2d(1, channels, kernel_size=3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(channels, 10, kernel_size=3, stride=2, padding=1),
    nn.ReLU(),
]
