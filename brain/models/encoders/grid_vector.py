"""One convolutional trunk with two heads: a grid of cells for what is where, a vector for the whole."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, cat, nn

from brain.models.encoders.base import Encoder, Frames
from brain.models.layers.cells import to_tokens
from brain.models.space import LatentSpace
from brain.recipes.schema import EncoderOptions
from shared.errors import TinyJEPAError

STRIDE = 4
"""Pixels of a cell, along each side."""


class GridVectorOptions(EncoderOptions):
    dim: int = Field(16, ge=2, le=4096, description="channels of a cell")
    registers: int = Field(
        8, ge=1, le=1024, description="times dim, the width of the vector beside the grid (brain.models.space)"
    )
    width: int = Field(48, ge=4, le=2048, description="channels of the first stage")
    difference: bool = Field(
        True,
        description="show the doubled difference of the last two frames of a stack as channels of its own",
    )


class GridVectorEncoder(Encoder):
    """8x8 stride 4 to ``width`` channels with BatchNorm and ReLU, then two heads.

    Cells: two 3x3 convolutions, BatchNorm and SiLU between. Vector: twice 4x4 stride 2, to 64 and 128 channels, with
    BatchNorm and ReLU as in ``ConvEncoder``, then a linear map. What is small and has a place is found in a cell; speed
    and turning show in the whole picture, and in the difference of its frames.
    float (N, channels, H, W) in [-1, 1] to (N, T + R, dim), T = (H / 4) * (W / 4), R = ``registers``: see
    ``LatentSpace``. H and W at least 16 pixels, or ``TinyJEPAError``.
    """

    Options = GridVectorOptions
    latents = "grid-vector"

    def __init__(self, options: GridVectorOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        channels, height, width = frames.shape
        if min(height, width) < 16:
            raise TinyJEPAError(
                f"encoder grid-vector needs frames of 16 pixels a side or more, not {height}x{width}: "
                "set encoder.kind=mlp and a predictor of vectors, or collect with a larger --frame-size"
            )
        self.space = LatentSpace(options.dim, (height // STRIDE, width // STRIDE), options.registers)
        self.difference = frames.channels if options.difference and frames.stack > 1 else 0
        hidden = options.width
        self.trunk = _stage(channels + self.difference, hidden, 8, STRIDE)
        self.local = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), nn.BatchNorm2d(hidden), nn.SiLU(),
            nn.Conv2d(hidden, options.dim, 3, padding=1),
        )  # fmt: skip
        self.whole = nn.Sequential(_stage(hidden, 64, 4, 2), _stage(64, 128, 4, 2), nn.Flatten())
        self.head = nn.Linear(128 * (height // 16) * (width // 16), self.space.vector)

    def forward(self, observation: Tensor) -> Tensor:
        first, *rest = self.trunk
        assert isinstance(first, nn.Conv2d)
        weight = first.weight
        if n := self.difference:  # 2 * (newest - before) convolved: the same weights on the newest and before, in one
            seen, twice = weight[:, :-n], 2 * weight[:, -n:]
            weight = cat([seen[:, : -2 * n], seen[:, -2 * n : -n] - twice, seen[:, -n:] + twice], 1)
        seen = F.conv2d(observation, weight, stride=first.stride, padding=first.padding)
        for layer in rest:
            seen = layer(seen)
        return self.space.join(to_tokens(self.local(seen)), self.head(self.whole(seen)))


def _stage(channels: int, out: int, kernel: int, stride: int) -> nn.Sequential:
    padding = (kernel - stride) // 2
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, padding, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )
