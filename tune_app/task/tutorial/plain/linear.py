"""Level 4: nn.Linear holds weights and bias, with PyTorch's own initialisation."""

from safetensors.torch import save_file

from tune_app.task.tutorial.plain.pieces.data import args
from tune_app.task.tutorial.plain.pieces.logistic import MnistLogistic
from tune_app.task.tutorial.plain.pieces.update import fit

# ---- train ---------------------------------------------------------------------------------------------

model = MnistLogistic()
fit(model)

if args.output:
    save_file(model.state_dict(), args.output)
