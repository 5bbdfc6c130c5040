"""Multi-layer perceptrons: the predictors without memory."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.recipes.schema import PredictorOptions


class MLPOptions(PredictorOptions):
    depth: int = Field(2, ge=1, le=32, description="hidden layers")


class MLP(Predictor):
    """next = MLP([z, a]), with ``depth`` hidden layers."""

    Options = MLPOptions

    def __init__(self, options: MLPOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        dim = space.dim
        self.network = mlp(dim + action_dim, options.width, dim, options.depth)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.network(torch.cat([z, action], 1))


class ResidualMLP(Predictor):
    """next = z + update([z, a]). The update starts near zero, so that training starts at persistence."""

    Options = MLPOptions

    def __init__(self, options: MLPOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        dim = space.dim
        self.update = mlp(dim + action_dim, options.width, dim, options.depth)
        last = self.update[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return z + self.update(torch.cat([z, action], 1))
