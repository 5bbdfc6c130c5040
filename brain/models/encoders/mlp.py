"""The smallest encoder: a multi-layer perceptron on the pixels."""

from __future__ import annotations

import math

from torch import Tensor, nn


class MLPEncoder(nn.Module):
    """pixels - 2 ``width`` - ``width`` - ``dim``, GELU between: 512-256-128-32 for two 16x16 frames and width 128.

    float (N, channels, H, W) in [-1, 1] to (N, dim); the network itself sees pixels in [0, 1], so that a black
    background is silent. The encoder of dvd-jepa (github.com/mandarwagh9/dvd-jepa).
    """

    def __init__(self, channels: int, frame_size: tuple[int, int], dim: int, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * math.prod(frame_size), 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
            nn.GELU(),
            nn.Linear(width, dim),
        )

    def forward(self, observation: Tensor) -> Tensor:
        return self.network((observation + 1) / 2)
