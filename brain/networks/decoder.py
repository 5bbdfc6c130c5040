"""Latents back to frames: for looking, never for training the encoder."""

from __future__ import annotations

import math

from torch import Tensor, nn


class MLPDecoder(nn.Module):
    """``dim`` - 64 - 256 - pixels, GELU between, a sigmoid at the end; for small frames.

    float (N, dim) to (N, H, W, C) in [0, 1]. dvd-jepa's decoder (github.com/mandarwagh9/dvd-jepa).
    """

    def __init__(self, dim: int, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.network = nn.Sequential(
            nn.Linear(dim, 64),
            nn.GELU(),
            nn.Linear(64, 256),
            nn.GELU(),
            nn.Linear(256, math.prod(frame_shape)),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z).unflatten(1, self.frame_shape)


class ConvDecoder(nn.Module):
    """A linear map to a small grid, then four times: twice the size (nearest neighbour), a 3x3 convolution, ReLU.

    float (N, dim) to (N, H, W, C) in [0, 1]. Resizing first leaves no chequered pattern (Odena et al. 2016).
    """

    WIDTHS = (96, 48, 32, 16, 8)

    def __init__(self, dim: int, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        height, width, channels = frame_shape
        self.frame_shape = frame_shape
        self.grid = (self.WIDTHS[0], -(-height // 16), -(-width // 16))
        self.spread = nn.Linear(dim, math.prod(self.grid))
        layers: list[nn.Module] = []
        for before, after in zip(self.WIDTHS, self.WIDTHS[1:]):
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(*layers, nn.Conv2d(self.WIDTHS[-1], channels, 3, padding=1), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        height, width, _ = self.frame_shape
        return self.network(self.spread(z).unflatten(1, self.grid)).permute(0, 2, 3, 1)[:, :height, :width]
