"""A convolutional encoder that keeps positions: its latent is a grid of cells instead of one vector."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from brain.models.encoders.base import Encoder, Frames
from brain.models.layers.cells import to_tokens
from brain.models.space import LatentSpace
from brain.recipes.schema import EncoderOptions
from shared.errors import TinyJEPAError


class GridOptions(EncoderOptions):
    dim: int = Field(16, ge=2, le=4096, description="channels of a cell")
    width: int = Field(16, ge=4, le=2048, description="channels of the hidden layers of each tower")
    stride: Literal[2, 4, 8, 16] = Field(4, description="pixels of a cell, along each side")
    split: tuple[int, ...] = Field(
        (),
        description="a tower for each: its channels of a cell, of dim in all. With n towers, tower i sees channels i, "
        "i + n, ... of the observation; [] = one tower sees all",
    )

    @model_validator(mode="after")
    def _whole(self) -> GridOptions:
        if self.split and (sum(self.split) != self.dim or min(self.split) < 1):
            raise ValueError(f"split {list(self.split)} must sum to dim {self.dim}: set encoder.split=[] or both")
        return self


class GridEncoder(Encoder):
    """Convolutions 5x5 and 3x3 of stride 2, SiLU between, then one 3x3: a cell of ``dim`` channels for each
    ``stride`` x ``stride`` pixels, at the edges for less.

    float (N, channels, H, W) in [-1, 1] to (N, T, dim), with T = ceil(H / stride) * ceil(W / stride). A cell sees the
    pixels around it, so that what moves keeps its place and things that never change keep their cells. Without
    normalisation: a BatchNorm would make a cell depend on what the others show.
    """

    Options = GridOptions
    latents = "grid"

    def __init__(self, options: GridOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        channels, height, width = frames.shape
        split = options.split or (options.dim,)
        if channels < len(split):
            raise TinyJEPAError(
                f"encoder grid has {len(split)} towers for {channels} channels (stack times those of a frame): set "
                "encoder.split=[], or raise observation.stack"
            )
        self.space = LatentSpace(options.dim, (-(-height // options.stride), -(-width // options.stride)))
        self.towers = nn.ModuleList(
            _tower(len(range(i, channels, len(split))), options.width, out, options.stride)
            for i, out in enumerate(split)
        )

    def forward(self, observation: Tensor) -> Tensor:
        count = len(self.towers)
        return to_tokens(torch.cat([tower(observation[:, i::count]) for i, tower in enumerate(self.towers)], 1))


def _tower(channels: int, width: int, out: int, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 5, 2, 2), nn.SiLU()]
    while stride > 2:
        layers += [nn.Conv2d(width, width, 3, 2, 1), nn.SiLU()]
        stride //= 2
    return nn.Sequential(*layers, nn.Conv2d(width, out, 3, 1, 1))
