"""The small convolutional encoder: about 0.4 million parameters, fast on CPUs."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from brain.models.encoders.base import Encoder, Frames
from brain.recipes.schema import EncoderOptions
from shared.errors import TinyJEPAError


class ConvOptions(EncoderOptions):
    width: int = Field(32, ge=4, le=2048, description="channels of the first stage, which later stages double")


class ConvEncoder(Encoder):
    """Three strided convolutions with BatchNorm and ReLU, then a linear map.

    8x8 stride 4 to ``width`` channels, then 4x4 stride 2 to 2 and 4 times ``width``: on a CPU the large first stride
    is worth 1.3 to 1.6 times the images per second of four stride-2 stages (``docs/benchmarks.md``).
    float (N, channels, H, W) in [-1, 1] to (N, dim); H and W at least 16 pixels, or ``TinyJEPAError``.
    """

    Options = ConvOptions

    def __init__(self, options: ConvOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        channels, height, width = frames.shape
        if min(height, width) < 16:
            raise TinyJEPAError(
                f"encoder cnn needs frames of 16 pixels a side or more, not {height}x{width}: "
                "set encoder.kind=mlp, or collect with a larger --frame-size"
            )
        stages: list[nn.Module] = []
        for stage, (kernel, stride) in enumerate(((8, 4), (4, 2), (4, 2))):
            out = options.width * 2**stage
            padding = (kernel - stride) // 2
            stages += [
                nn.Conv2d(channels, out, kernel, stride, padding, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            ]
            channels = out
        self.features = nn.Sequential(*stages)
        self.head = nn.Linear(channels * math.prod(side // 16 for side in (height, width)), options.dim)

    def forward(self, observation: Tensor) -> Tensor:
        return self.head(self.features(observation).flatten(1))
