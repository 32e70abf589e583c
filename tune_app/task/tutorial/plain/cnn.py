"""Level 10: three convolutions; nothing else changes."""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tune_app.task.tutorial.plain.pieces.data import args, x_train, x_valid, y_train, y_valid
from tune_app.task.tutorial.plain.pieces.fit import fit
from tune_app.task.tutorial.plain.pieces.found import bs, lr, momentum, weight_decay, width
from tune_app.task.tutorial.plain.pieces.order import get_data

# ---- the model -----------------------------------------------------------------------------------------


class MnistCNN(nn.Module):
    """1 -> 16 -> 16 -> 10 channels; `width` times as many in between."""

    def __init__(self) -> None:
        super().__init__()
        channels = 16 * width
        self.conv1 = nn.Conv2d(1, channels, kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(channels, 10, kernel_size=3, stride=2, padding=1)

    def forward(self, xb: Tensor) -> Tensor:
        """xb: (n, 784) -> (n, 10)."""
        xb = xb.view(-1, 1, 28, 28)
        xb = F.relu(self.conv1(xb))
        xb = F.relu(self.conv2(xb))
        xb = F.relu(self.conv3(xb))
        xb = F.avg_pool2d(xb, 4)
        return xb.view(-1, xb.size(1))


# ---- train ---------------------------------------------------------------------------------------------

train_dl, valid_dl = get_data(TensorDataset(x_train, y_train), TensorDataset(x_valid, y_valid), bs)
model = MnistCNN()
opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
fit(model, F.cross_entropy, opt, train_dl, valid_dl)

if args.output:
    save_file(model.state_dict(), args.output)
