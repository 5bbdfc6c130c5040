"""The convolutional decoder."""

from __future__ import annotations

import math

from torch import Tensor, nn

from brain.models.decoders.base import Decoder
from brain.models.space import LatentSpace


class ConvDecoder(Decoder):
    """Two linear maps to a small grid, then four times: twice the size, a 3x3 convolution, BatchNorm, ReLU.

    float (N, dim) to (N, H, W, C) in [0, 1]. Resizing (to the nearest neighbour) first leaves no chequered pattern
    (Odena et al. 2016). The hidden layer turns angles and the like into places.
    """

    HIDDEN = 256
    WIDTHS = (128, 64, 32, 16, 16)
    LEARNING_RATE = 4e-3

    def __init__(self, space: LatentSpace, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        height, width, channels = frame_shape
        self.frame_shape = frame_shape
        self.grid = (self.WIDTHS[0], -(-height // 16), -(-width // 16))
        self.spread = nn.Sequential(
            nn.Linear(space.dim, self.HIDDEN), nn.ReLU(inplace=True), nn.Linear(self.HIDDEN, math.prod(self.grid))
        )
        layers: list[nn.Module] = []
        for before, after in zip(self.WIDTHS, self.WIDTHS[1:]):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers += [nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(*layers, nn.Conv2d(self.WIDTHS[-1], channels, 3, padding=1), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        height, width, _ = self.frame_shape
        return self.network(self.spread(z).unflatten(1, self.grid)).permute(0, 2, 3, 1)[:, :height, :width]
