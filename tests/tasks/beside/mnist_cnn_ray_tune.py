"""The port mnist_cnn in plain Ray Tune, with checkpoints: python tests/tasks/beside/mnist_cnn_ray_tune.py FOLDER"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 4


def load():
    digits = load_digits()
    x, y = torch.tensor(digits.images[:300, None] / 16).float(), torch.tensor(digits.target[:300])
    return {"train": (x[:200], y[:200]), "valid": (x[200:], y[200:])}


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3)
        self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(2 * dropout)
        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, xb):
        xb = F.relu(self.conv2(F.relu(self.conv1(xb))))
        xb = self.dropout1(F.max_pool2d(xb, 2)).flatten(1)
        xb = self.dropout2(F.relu(self.fc1(xb)))
        return F.log_softmax(self.fc2(xb), dim=1)


def cnn(config, data):
    torch.manual_seed(config["seed"])
    torch.set_num_threads(1)
    train_dl = DataLoader(TensorDataset(*data["train"]), config["bs"], shuffle=True)
    valid_dl = DataLoader(TensorDataset(*data["valid"]), config["bs"] * 2)
    model = Net(config["dropout"])
    opt = torch.optim.Adadelta(model.parameters(), config["lr"])
    kept: dict[str, Any] = {"model": model, "opt": opt, "schedule": StepLR(opt, 1, config["gamma"])}
    done = 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder, "state.pt"))
        for name, part in kept.items():
            part.load_state_dict(state[name])
        done = state["epoch"]
    for epoch in range(done + 1, EPOCHS + 1):
        model.train()
        for xb, yb in train_dl:
            F.nll_loss(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()
        kept["schedule"].step()
        model.eval()
        with torch.no_grad():
            pairs = [(model(xb), yb) for xb, yb in valid_dl]
        out, yb = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        values = {"accuracy": (out.argmax(1) == yb).float().mean().item(), "loss": F.nll_loss(out, yb).item()}
        with tempfile.TemporaryDirectory() as folder:
            state = {name: part.state_dict() for name, part in kept.items()}
            torch.save({**state, "epoch": epoch}, Path(folder, "state.pt"))
            tune.report({"epoch": epoch, **values}, checkpoint=tune.Checkpoint.from_directory(folder))


if __name__ == "__main__":
    storage = Path(sys.argv[1]).absolute()
    trainable = tune.with_resources(tune.with_parameters(cnn, data=load()), {"cpu": 1})
    if tune.Tuner.can_restore(str(storage / "mnist_cnn")):
        tuner = tune.Tuner.restore(str(storage / "mnist_cnn"), trainable, restart_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={
                "lr": tune.loguniform(0.1, 3),
                "bs": tune.choice([16, 32, 64]),
                "gamma": tune.uniform(0.5, 1),
                "dropout": tune.uniform(0, 0.4),
                "seed": tune.randint(0, 2**31),
            },
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                num_samples=4,
                scheduler=ASHAScheduler(time_attr="epoch", max_t=EPOCHS, grace_period=1),
            ),
            run_config=tune.RunConfig(
                name="mnist_cnn",
                storage_path=str(storage),
                failure_config=tune.FailureConfig(max_failures=2),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="accuracy"),
            ),
        )
    best = tuner.fit().get_best_result(scope="all")
    print(best.config, best.get_best_checkpoint("accuracy", "max"))
