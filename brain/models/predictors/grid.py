"""Convolutional dynamics of a grid of cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from brain.models.layers.cells import to_cells, to_tokens
from brain.models.layers.mlp import mlp
from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.recipes.schema import PredictorOptions


class GridPredictorOptions(PredictorOptions):
    width: int = Field(32, ge=4, le=2048, description="channels of the hidden layers, of the variance head too")
    depth: int = Field(2, ge=0, le=32, description="residual 3x3 convolutions between the first and the last")
    coordinates: bool = Field(False, description="show each cell its row and column")


class GridPredictor(Predictor):
    """next = z + convolutions(z, a): what happens in a cell depends on the cells around it and on the action.

    A 3x3 convolution, ``depth`` residual ones and a last one; the action scales and shifts the channels of each hidden
    layer (FiLM: Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer"). The update starts near
    zero, so that training starts at persistence. A world without actions has a constant one.

    z float (N, T, D), action (N, A). The head for the error's variance reads the last hidden layer, without gradient.
    """

    Options = GridPredictorOptions
    latents = "grid"
    FILM = 64

    def __init__(self, options: GridPredictorOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        assert space.grid is not None
        self.grid = space.grid
        self.coordinates: Tensor | None
        self.register_buffer("coordinates", _coordinates(space.grid) if options.coordinates else None, persistent=False)
        width = options.width
        self.enter = nn.Conv2d(space.dim + 2 * options.coordinates, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(options.depth))
        self.film = mlp(max(action_dim, 1), self.FILM, 2 * width * (options.depth + 1), 1)
        self.leave = nn.Conv2d(width, space.dim, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=1e-3)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def variance_head(self) -> nn.Module:
        return GridLogVariance(self.width, self.space)

    def step(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        if action.shape[1] == 0:
            action = z.new_ones(z.shape[0], 1)
        film = self.film(action)[:, :, None, None].chunk(2 * len(self.blocks) + 2, 1)
        cells = to_cells(z, self.grid)
        if self.coordinates is not None:
            cells = torch.cat([cells, self.coordinates.expand(z.shape[0], -1, -1, -1)], 1)
        hidden = F.silu(self.enter(cells) * (1 + film[0]) + film[1])
        for i, block in enumerate(self.blocks, 1):
            hidden = hidden + F.silu(block(hidden) * (1 + film[2 * i]) + film[2 * i + 1])
        return z + to_tokens(self.leave(hidden)), hidden.detach()

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.step(z, action)[0]


class GridLogVariance(nn.Module):
    """Hidden features (N, width, H, W) to the log-variance of each cell and channel, (N, T, D)."""

    def __init__(self, width: int, space: LatentSpace) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, space.dim, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        return to_tokens(self.layers(hidden))


def _coordinates(grid: tuple[int, int]) -> Tensor:
    """Row and column of each cell in [-1, 1]: float32 (1, 2, H, W)."""
    places = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in grid), indexing="ij")
    return torch.stack(places)[None]
