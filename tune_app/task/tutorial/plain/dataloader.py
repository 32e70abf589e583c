"""Level 7: a DataLoader hands out the batches, in file order."""

import math
from itertools import islice

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.utils.data import DataLoader, TensorDataset

from tune_app.task.tutorial.plain.pieces.data import args, x_train, x_valid, y_train, y_valid
from tune_app.task.tutorial.plain.pieces.found import bs, epochs, lr, momentum, weight_decay
from tune_app.task.tutorial.plain.pieces.logistic import MnistLogistic
from tune_app.task.tutorial.plain.pieces.results import batches_of, due, report

# ---- the loop ------------------------------------------------------------------------------------------

train_dl = DataLoader(TensorDataset(x_train, y_train), batch_size=bs)
valid_dl = DataLoader(TensorDataset(x_valid, y_valid), batch_size=bs)
loss_func = F.cross_entropy
model = MnistLogistic()
opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)

for epoch in range(math.ceil(epochs)):
    for i, (xb, yb) in enumerate(islice(train_dl, batches_of(epoch))):
        loss = loss_func(model(xb), yb)

        loss.backward()
        opt.step()
        opt.zero_grad()

        if i + 1 in due:
            report(epoch, i, model, loss_func, valid_dl)

if args.output:
    save_file(model.state_dict(), args.output)
