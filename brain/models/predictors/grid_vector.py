"""Dynamics of a grid of cells with a vector beside it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.models.predictors.base import Predictor
from brain.models.predictors.grid import GridPredictor, GridPredictorOptions
from brain.models.space import LatentSpace


class GridVectorPredictorOptions(GridPredictorOptions):
    width: int = Field(48, ge=4, le=2048, description="channels of the grid's hidden layers, of its variance head too")
    coordinates: bool = Field(True, description="show each cell its row and column")
    units: int = Field(256, ge=4, le=8192, description="units of the vector's two hidden layers, of its variance head")


class GridVectorPredictor(Predictor):
    """vector + MLP(vector, a), and for the cells the convolutions of ``GridPredictor`` told both vector and action.

    z float (N, T + R, D), action (N, A). The vector knows speed and turning, by which all cells move; the cells know
    what is where. The cells' gradient reaches the vector's MLP over several steps.
    """

    Options = GridVectorPredictorOptions
    latents = "grid-vector"
    vector_alone = True

    def __init__(self, options: GridVectorPredictorOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        self.units = options.units
        self.update = mlp(space.vector + action_dim, options.units, space.vector, 2)
        last = self.update[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)
        self.cells = GridPredictor(options, LatentSpace(space.dim, space.grid), space.vector + action_dim)

    def variance_head(self) -> nn.Module:
        return GridVectorLogVariance(self)

    def next_vector(self, vector: Tensor, action: Tensor) -> Tensor:
        """The vector's model step: (N, R * D), (N, A) to (N, R * D)."""
        return vector + self.update(torch.cat([vector, action], 1))

    def rollout_vector(self, vector: Tensor, actions: Tensor) -> Tensor:
        steps = []
        for action in actions.unbind(1):
            vector = self.next_vector(vector, action)
            steps.append(vector)
        return torch.stack(steps, 1)

    def step(self, z: Tensor, action: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        cells, vector = self.space.split(z)
        told = torch.cat([vector, action], 1)
        moved, hidden = self.cells.step(cells, told)
        return self.space.join(moved, self.next_vector(vector, action)), (hidden, told.detach())

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.step(z, action)[0]


class GridVectorLogVariance(nn.Module):
    """Log-variances of cells and vector, (N, T + R, D), from hidden features (N, width, H, W) and the vector with the
    action (N, R * D + A)."""

    def __init__(self, predictor: GridVectorPredictor) -> None:
        super().__init__()
        self.space = space = predictor.space
        self.cells = predictor.cells.variance_head()
        self.vector = mlp(space.vector + predictor.action_dim, predictor.units, space.vector, 1)

    def forward(self, features: tuple[Tensor, Tensor]) -> Tensor:
        hidden, told = features
        return self.space.join(self.cells(hidden), self.vector(told))
