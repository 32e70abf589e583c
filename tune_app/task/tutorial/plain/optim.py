"""Level 5: torch.optim makes the update."""

import math

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tune_app.task.tutorial.plain.pieces.data import args, x_train, x_valid, y_train, y_valid
from tune_app.task.tutorial.plain.pieces.found import bs, epochs, lr, momentum, weight_decay
from tune_app.task.tutorial.plain.pieces.logistic import MnistLogistic
from tune_app.task.tutorial.plain.pieces.results import batches_of, due, report

# ---- the loop ------------------------------------------------------------------------------------------

loss_func = F.cross_entropy
model = MnistLogistic()
opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)

for epoch in range(math.ceil(epochs)):
    for i in range(batches_of(epoch)):
        start_i = i * bs
        end_i = start_i + bs
        xb = x_train[start_i:end_i]
        yb = y_train[start_i:end_i]
        loss = loss_func(model(xb), yb)

        loss.backward()
        opt.step()
        opt.zero_grad()

        if i + 1 in due:
            report(epoch, i, model, loss_func, zip(x_valid.split(bs), y_valid.split(bs), strict=True))

if args.output:
    save_file(model.state_dict(), args.output)
