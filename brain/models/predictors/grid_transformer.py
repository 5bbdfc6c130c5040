"""A transformer's dynamics of a grid of cells: every cell attends to every other."""

from __future__ import annotations

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from brain.models.layers.attention import Attention, FeedForward
from brain.models.layers.mlp import mlp
from brain.models.layers.patches import sinusoids_2d
from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.recipes.schema import PredictorOptions


class GridTransformerOptions(PredictorOptions):
    width: int = Field(64, ge=4, le=2048, description="channels of all blocks, a multiple of 4; a head for each 32")
    depth: int = Field(2, ge=1, le=32, description="blocks")

    @field_validator("width")
    @classmethod
    def _whole_heads(cls, width: int) -> int:
        if width % 4 or width % max(1, width // 32):
            raise ValueError(
                f"grid-transformer width {width} must be a multiple of 4 and of its heads, one for each 32"
            )
        return width


class GridTransformer(Predictor):
    """next = z + transformer(z, a): one token for each cell, in which the action lies beside the cell's channels.

    Zhou et al. 2025, "DINO-WM: World Models on Pre-trained Visual Features enable Zero-shot Planning", section 3.2:
    patch tokens, an embedding of the action concatenated to each, and a transformer. There the tokens of three past
    frames stand side by side under a causal mask; here the observation's stack holds the past. Fixed sin-cos
    positions. The update starts near zero, so that training starts at persistence. A world without actions has a
    constant one.

    z float (N, T, D), action (N, A). The head for the error's variance reads the last hidden tokens, without gradient.
    """

    Options = GridTransformerOptions
    latents = "grid"
    ACTION = 16

    def __init__(self, options: GridTransformerOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        assert space.grid is not None
        width = options.width
        self.action = nn.Linear(max(action_dim, 1), self.ACTION)
        self.token = nn.Linear(space.dim + self.ACTION, width)
        self.position: Tensor
        self.register_buffer("position", sinusoids_2d(*space.grid, width), persistent=False)
        heads = max(1, width // 32)
        self.blocks = nn.Sequential(
            *(nn.Sequential(Attention(width, heads), FeedForward(width)) for _ in range(options.depth))
        )
        self.norm = nn.LayerNorm(width)
        self.update = nn.Linear(width, space.dim)
        nn.init.normal_(self.update.weight, std=1e-3)
        nn.init.zeros_(self.update.bias)

    def variance_head(self) -> nn.Module:
        return mlp(self.width, self.width, self.space.dim, 1)

    def step(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        if action.shape[1] == 0:
            action = z.new_ones(z.shape[0], 1)
        beside = self.action(action)[:, None].expand(-1, z.shape[1], -1)
        hidden = self.norm(self.blocks(self.token(torch.cat([z, beside], 2)) + self.position))
        return z + self.update(hidden), hidden.detach()

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.step(z, action)[0]
