"""The smallest encoder: a multi-layer perceptron on the pixels."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from brain.models.encoders.base import Encoder, Frames
from brain.recipes.schema import EncoderOptions


class MLPOptions(EncoderOptions):
    width: int = Field(32, ge=4, le=2048, description="units of the second hidden layer, half of those of the first")


class MLPEncoder(Encoder):
    """pixels - 2 ``width`` - ``width`` - ``dim``, GELU between: 512-256-128-32 for two 16x16 frames and width 128.

    float (N, channels, H, W) in [-1, 1] to (N, dim); the network itself sees pixels in [0, 1], so that a black
    background is silent. The encoder of dvd-jepa (github.com/mandarwagh9/dvd-jepa).
    """

    Options = MLPOptions
    flat = True

    def __init__(self, options: MLPOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        width = options.width
        self.network = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(frames.shape), 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
            nn.GELU(),
            nn.Linear(width, options.dim),
        )

    def forward(self, observation: Tensor) -> Tensor:
        return self.network((observation + 1) / 2)
