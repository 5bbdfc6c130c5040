"""Two convolutional branches, for the even and the odd channels: a dot and its walls, for example."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from brain.models.encoders.base import Encoder, Frames
from brain.recipes.schema import EncoderOptions
from shared.errors import TinyJEPAError


class TwoBranchOptions(EncoderOptions):
    width: int = Field(32, ge=4, le=2048, description="channels of a branch's first stage; twice that later")


class TwoBranch(Encoder):
    """Two towers of three strided convolutions; their halves of the latent stand side by side.

    The first tower sees channels 0, 2, ..., the second 1, 3, ...: in a world of two channels (``two-room``: dot and
    wall) each sees one kind of thing, however many frames are stacked. 6x6 stride 4 to ``width`` channels, then twice
    3x3 stride 2 to double; the large first stride is for CPUs, as in ``ConvEncoder``.
    float (N, channels >= 2, H, W) in [-1, 1] to (N, dim); H and W at least 16 pixels, or ``TinyJEPAError``.
    After Lake-Wang's JEPA world model (github.com/Lake-Wang/Deep_Learning_JEPA_World_Model).
    """

    Options = TwoBranchOptions

    def __init__(self, options: TwoBranchOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        (channels, *frame_size), dim = frames.shape, options.dim
        if channels < 2 or min(frame_size) < 16:
            raise TinyJEPAError(
                f"encoder two-branch needs two channels or more (stack times those of a frame) and 16 pixels a side, "
                f"not {channels} of {frame_size[0]}x{frame_size[1]}: set encoder.kind=mlp, or observation.stack=2"
            )
        halves = ((channels + 1) // 2, channels // 2), ((dim + 1) // 2, dim // 2)
        self.branches = nn.ModuleList(
            _tower(c, (frames.height, frames.width), d, options.width) for c, d in zip(*halves)
        )

    def forward(self, observation: Tensor) -> Tensor:
        return torch.cat([branch(observation[:, i::2]) for i, branch in enumerate(self.branches)], 1)


def _tower(channels: int, frame_size: tuple[int, int], dim: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    height, wide = frame_size
    for kernel, stride, out in ((6, 4, width), (3, 2, 2 * width), (3, 2, 2 * width)):
        layers += [nn.Conv2d(channels, out, kernel, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        channels = out
        height, wide = ((side + 2 - kernel) // stride + 1 for side in (height, wide))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * wide, dim))
