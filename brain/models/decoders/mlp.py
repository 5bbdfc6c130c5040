"""The decoder for small frames."""

from __future__ import annotations

import math

from torch import Tensor, nn

from brain.models.decoders.base import Decoder
from brain.models.space import LatentSpace


class MLPDecoder(Decoder):
    """``dim`` - 64 - 256 - pixels, GELU between, a sigmoid at the end; for small frames.

    float (N, dim) to (N, H, W, C) in [0, 1]. dvd-jepa's decoder (github.com/mandarwagh9/dvd-jepa).
    """

    LEARNING_RATE = 2e-3

    def __init__(self, space: LatentSpace, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.network = nn.Sequential(
            nn.Linear(space.dim, 64),
            nn.GELU(),
            nn.Linear(64, 256),
            nn.GELU(),
            nn.Linear(256, math.prod(frame_shape)),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z).unflatten(1, self.frame_shape)
