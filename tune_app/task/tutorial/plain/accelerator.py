"""Level 13: the model and, one by one, the batches move to a device."""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tune_app.task.tutorial.plain.pieces.data import args, x_train, x_valid, y_train, y_valid
from tune_app.task.tutorial.plain.pieces.fit import fit
from tune_app.task.tutorial.plain.pieces.found import bs, lr, momentum, weight_decay
from tune_app.task.tutorial.plain.pieces.layers import Lambda, convolutions
from tune_app.task.tutorial.plain.pieces.order import get_data
from tune_app.task.tutorial.plain.pieces.wrapping import WrappedDataLoader

# ---- train ---------------------------------------------------------------------------------------------

device = torch.device("cpu")  # or "cuda", "mps": another device rounds differently


def preprocess(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of 784 pixels become images on the device."""
    return x.view(-1, 1, 28, 28).to(device), y.to(device)


train_dl, valid_dl = get_data(TensorDataset(x_train, y_train), TensorDataset(x_valid, y_valid), bs)
train_dl = WrappedDataLoader(train_dl, preprocess)
valid_dl = WrappedDataLoader(valid_dl, preprocess)
model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), Lambda(lambda x: x.view(x.size(0), -1)))
model.to(device)
opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
fit(model, F.cross_entropy, opt, train_dl, valid_dl)

if args.output:
    save_file(model.state_dict(), args.output)
