"""The weights of the first two levels."""

import math

import torch

# ---- weights and bias as plain tensors -----------------------------------------------------------------

weights = torch.randn(784, 10) / math.sqrt(784)
weights.requires_grad_()
bias = torch.zeros(10, requires_grad=True)
