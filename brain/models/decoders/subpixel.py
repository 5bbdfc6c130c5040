"""The sub-pixel decoder of vectors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from brain.models.decoders.base import Decoder
from brain.models.space import LatentSpace


class SubPixelDecoder(Decoder):
    """Two linear maps to a grid of 8x8 cells, residual 3x3 convolutions there, then blocks of pixels in two steps.

    float (N, dim) to (N, H, W, C) in [0, 1]. Nearly all computation is on the small grid, whose cells give blocks of a
    picture of half the size as channels (Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an
    Efficient Sub-Pixel Convolutional Neural Network"). A 3x3 convolution there draws 2x2 pixels for each of its own:
    blocks drawn at once differ along their borders and between colours, as stripes. Training starts at the mean frame:
    what never moves need not be learned.
    """

    HIDDEN = 256
    WIDTH = 64
    CELLS = 8
    DEPTH = 2
    MIDDLE = 8
    """Channels of the picture of half the size."""
    LEARNING_RATE = 4e-3

    def __init__(self, space: LatentSpace, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.frame_shape = height, width, channels = frame_shape
        self.middle = -(-height // 2), -(-width // 2)
        self.scale = -(-max(self.middle) // self.CELLS)
        self.spread = nn.Sequential(
            nn.Linear(space.dim, self.HIDDEN), nn.SiLU(), nn.Linear(self.HIDDEN, self.WIDTH * self.CELLS**2)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(self.WIDTH, self.WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(self.WIDTH), nn.SiLU()
            )
            for _ in range(self.DEPTH)
        )
        self.enlarge = nn.Conv2d(self.WIDTH, self.MIDDLE * self.scale**2, 3, padding=1)
        self.pixels = nn.Conv2d(self.MIDDLE, channels * 4, 3, padding=1)
        self.still = nn.Parameter(self.pixels.weight.new_zeros(channels, height, width))

    def begin(self, mean: Tensor) -> None:
        self.still.data.copy_(mean.permute(2, 0, 1).logit(0.01))

    def forward(self, z: Tensor) -> Tensor:
        height, width, _ = self.frame_shape
        hidden = F.silu(self.spread(z).unflatten(1, (self.WIDTH, self.CELLS, self.CELLS)))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        middle = F.silu(F.pixel_shuffle(self.enlarge(hidden), self.scale)[:, :, : self.middle[0], : self.middle[1]])
        drawn = F.pixel_shuffle(self.pixels(middle), 2)[:, :, :height, :width]
        return (drawn + self.still).sigmoid().permute(0, 2, 3, 1)
