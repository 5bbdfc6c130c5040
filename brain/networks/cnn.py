"""The small convolutional encoder: about 0.4 million parameters, made for CPUs."""

from __future__ import annotations

import math

from torch import Tensor, nn


class ConvEncoder(nn.Module):
    """Four 4x4 stride-2 convolutions (width, 2, 4 and 8 times width), BatchNorm and ReLU, then a linear map.

    float (N, channels, H, W) in [-1, 1] to (N, dim). H and W of at least 16 pixels.
    """

    def __init__(self, channels: int, frame_size: tuple[int, int], dim: int, width: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for stage in range(4):
            out = width * 2**stage
            stages += [
                nn.Conv2d(channels, out, 4, 2, 1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            ]
            channels = out
        self.features = nn.Sequential(*stages)
        self.head = nn.Linear(channels * math.prod(side // 16 for side in frame_size), dim)

    def forward(self, observation: Tensor) -> Tensor:
        return self.head(self.features(observation).flatten(1))
