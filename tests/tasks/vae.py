"""A variational autoencoder of handwritten digits: it draws while it trains and while it validates."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from tune_app.task import Lesson, Minimize, fit, get_data


def load(source=None):
    x = torch.tensor(load_digits().data[:300] / 16).float()
    return {"train": x[:200], "valid": x[200:]}


def reconstruction(out, yb) -> Minimize:
    return F.binary_cross_entropy_with_logits(out[0], yb, reduction="none").sum(1)


def elbo(out, yb):
    logits, mu, logvar = out
    divergence = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
    return (reconstruction((logits,), yb) + divergence).mean()


class VAE(nn.Module):
    def __init__(self, hidden, latent):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def forward(self, xb):
        mu, logvar = self.encoder(xb).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * (logvar / 2).exp()
        return self.decoder(z), mu, logvar


def vae(data, *, lr: float = 0.003, bs: int = 32, hidden: int = 32, latent: int = 4) -> Lesson:
    """Two linear layers each way."""
    train, valid = data["train"], data["valid"]
    train_dl, valid_dl = get_data(TensorDataset(train, train), TensorDataset(valid, valid), bs)
    model = VAE(hidden, latent)
    return Lesson(model, elbo, torch.optim.Adam(model.parameters(), lr), train_dl, valid_dl)


if __name__ == "__main__":
    fit(vae(load()), epochs=3, metrics=[reconstruction])
