"""Level 9: get_data, get_model and fit make it three lines."""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

from tune_app.task.tutorial.plain.pieces.data import args, x_train, x_valid, y_train, y_valid
from tune_app.task.tutorial.plain.pieces.fit import fit
from tune_app.task.tutorial.plain.pieces.found import bs, lr, momentum, weight_decay
from tune_app.task.tutorial.plain.pieces.logistic import MnistLogistic
from tune_app.task.tutorial.plain.pieces.order import get_data

# ---- train ---------------------------------------------------------------------------------------------


def get_model() -> tuple[MnistLogistic, torch.optim.SGD]:
    """The model and its optimizer."""
    model = MnistLogistic()
    return model, torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)


train_dl, valid_dl = get_data(TensorDataset(x_train, y_train), TensorDataset(x_valid, y_valid), bs)
model, opt = get_model()
fit(model, F.cross_entropy, opt, train_dl, valid_dl)

if args.output:
    save_file(model.state_dict(), args.output)
