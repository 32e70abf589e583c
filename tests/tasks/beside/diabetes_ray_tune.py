"""The task diabetes in plain Ray Tune, with checkpoints: python tests/tasks/beside/diabetes_ray_tune.py FOLDER"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_diabetes
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 4


def load():
    """442 patients: train on the first 260, select by the next 90. The scale is that of the training part."""
    x, y = (torch.tensor(part).float() for part in load_diabetes(return_X_y=True, scaled=False))
    x, y = ((part - part[:260].mean(dim=0)) / part[:260].std(dim=0) for part in (x, y))
    return {"train": (x[:260], y[:260]), "valid": (x[260:350], y[260:350])}


def regression(config, data):
    torch.manual_seed(config["seed"])
    torch.set_num_threads(1)
    train_dl = DataLoader(TensorDataset(*data["train"]), config["bs"], shuffle=True)
    valid_dl = DataLoader(TensorDataset(*data["valid"]), config["bs"] * 2)
    if config["level"] == "linear":
        model = nn.Sequential(nn.Linear(10, 1), nn.Flatten(0))
    else:
        hidden = config["hidden"]
        model = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), nn.Linear(hidden, 1), nn.Flatten(0))
    opt = torch.optim.SGD(model.parameters(), config["lr"], momentum=0.9, weight_decay=config["weight_decay"])
    kept: dict[str, Any] = {"model": model, "opt": opt}
    if config["level"] == "mlp":
        kept["schedule"] = CosineAnnealingLR(opt, EPOCHS)
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
            F.mse_loss(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()
        if "schedule" in kept:
            kept["schedule"].step()
        model.eval()
        with torch.no_grad():
            pairs = [(model(xb), yb) for xb, yb in valid_dl]
        out, yb = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        loss = F.mse_loss(out, yb)
        r2 = 1 - loss / yb.var(correction=0)
        values = {"absolute_error": (out - yb).abs().mean().item(), "r2": r2.item(), "loss": loss.item()}
        with tempfile.TemporaryDirectory() as folder:
            state = {name: part.state_dict() for name, part in kept.items()}
            torch.save({**state, "epoch": epoch}, Path(folder, "state.pt"))
            tune.report({"epoch": epoch, **values}, checkpoint=tune.Checkpoint.from_directory(folder))


if __name__ == "__main__":
    storage = Path(sys.argv[1]).absolute()
    trainable = tune.with_resources(tune.with_parameters(regression, data=load()), {"cpu": 1})
    if tune.Tuner.can_restore(str(storage / "diabetes")):
        tuner = tune.Tuner.restore(str(storage / "diabetes"), trainable, restart_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={
                "level": tune.choice(["linear", "mlp"]),
                "lr": tune.loguniform(0.001, 0.1),
                "bs": tune.choice([8, 16, 32]),
                "weight_decay": tune.choice([0.0, 0.001, 0.01]),
                "hidden": tune.randint(4, 64),
                "seed": tune.randint(0, 2**31),
            },
            tune_config=tune.TuneConfig(
                metric="absolute_error",
                mode="min",
                num_samples=4,
                scheduler=ASHAScheduler(time_attr="epoch", max_t=EPOCHS, grace_period=1),
            ),
            run_config=tune.RunConfig(
                name="diabetes",
                storage_path=str(storage),
                failure_config=tune.FailureConfig(max_failures=2),
                checkpoint_config=tune.CheckpointConfig(
                    num_to_keep=2, checkpoint_score_attribute="absolute_error", checkpoint_score_order="min"
                ),
            ),
        )
    best = tuner.fit().get_best_result(scope="all")
    print(best.config, best.get_best_checkpoint("absolute_error", "min"))
