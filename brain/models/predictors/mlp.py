"""Multi-layer perceptrons: the predictors without memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.models.predictors.base import Predictor


class MLP(Predictor):
    """next = MLP([z, a]), with ``depth`` hidden layers."""

    def __init__(self, dim: int, action_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.network = mlp(dim + action_dim, width, dim, depth)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.network(torch.cat([z, action], 1))


class ResidualMLP(Predictor):
    """next = z + update([z, a]). The update starts near zero, so that training starts at persistence."""

    def __init__(self, dim: int, action_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.update = mlp(dim + action_dim, width, dim, depth)
        last = self.update[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return z + self.update(torch.cat([z, action], 1))
