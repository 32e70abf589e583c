"""The batch order of levels 8 to 13."""

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from tune_app.task.tutorial.plain.pieces.found import seed

# ---- batches: shuffled for training, twice as large for validation -------------------------------------

order = torch.Generator()


def shuffle(epoch: int) -> None:
    """Set the batch order of an epoch: it depends on seed and epoch alone.

    Mixed, not added: epoch 1 of seed 1 is not epoch 0 of seed 2.
    """
    (mixed,) = np.random.SeedSequence((seed, epoch)).generate_state(1)
    order.manual_seed(int(mixed))


def get_data(train_ds: TensorDataset, valid_ds: TensorDataset, bs: int) -> tuple[DataLoader, DataLoader]:
    """The tutorial's two loaders; shuffle=True, with an order that can be repeated."""
    return (
        DataLoader(train_ds, batch_size=bs, sampler=RandomSampler(train_ds, generator=order)),
        DataLoader(valid_ds, batch_size=bs * 2),
    )
