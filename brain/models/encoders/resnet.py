"""ResNet-18 (He et al. 2016, "Deep Residual Learning for Image Recognition", table 1) for small frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from brain.models.encoders.base import Encoder, Frames
from brain.recipes.schema import EncoderOptions


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, padded by 1, without bias. Of a map of one cell it sees the kernel's middle alone.

    That case is computed as such: torch's bfloat16 convolution on CPUs leaves the gradient of the other taps
    uninitialised there (seen with stride 2 and torch 2.13).
    """

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__(channels, out, 3, stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] == (1, 1):
            return F.conv2d(x, self.weight[:, :, 1:2, 1:2])
        return super().forward(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (figure 5, left): (N, C, H, W) to (N, out, H / stride, W / stride)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            Conv3x3(channels, out, stride),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            Conv3x3(out, out),
            nn.BatchNorm2d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(x))


class ResNetOptions(EncoderOptions):
    width: int = Field(32, ge=4, le=2048, description="channels of the first stage, which later stages double")


class ResNet18(Encoder):
    """7x7 stride-2 stem, max-pooling, four stages of two blocks, global average pooling.

    float (N, channels, H, W) in [-1, 1] to (N, dim). The trunk ends in 8 x width channels (512 at the standard
    width 64); a linear map follows only where ``dim`` differs from that.
    """

    Options = ResNetOptions

    def __init__(self, options: ResNetOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        dim, width = options.dim, options.width
        self.stem = nn.Sequential(
            nn.Conv2d(frames.shape[0], width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            out = width * 2**stage
            blocks += [BasicBlock(channels, out, 1 if stage == 0 else 2), BasicBlock(out, out, 1)]
            channels = out
        self.stages = nn.Sequential(*blocks)
        self.head: nn.Module = nn.Identity() if dim == channels else nn.Linear(channels, dim)

    def forward(self, observation: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(observation)).mean((2, 3)))
