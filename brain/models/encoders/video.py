"""The video transformer as an encoder of observations, like every other encoder."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator
from torch import Tensor, nn

from brain.models.encoders.base import Encoder, Frames
from brain.models.layers.video import VideoEncoder, VideoSize
from brain.recipes.schema import EncoderOptions, Recipe


def whole_heads(width: int) -> int:
    """The same width. Raises ``ValueError`` where it is no whole number of heads."""
    if width % (multiple := 4 if width < 192 else 64):
        raise ValueError(f"width {width} must be a multiple of {multiple}: a head has 64 of it")
    return width


class VideoOptions(EncoderOptions):
    width: int = Field(32, ge=4, le=2048, description="channels of all blocks; a head for each 64, at least two")
    depth: int = Field(4, ge=1, le=64, description="blocks of attention over space, then over time")
    patch: int = Field(8, ge=1, le=64, description="side of the box of pixels that is one token")
    tubelet: int = Field(2, ge=1, le=16, description="frames of that box; observation.stack is a multiple")
    checkpointing: bool = Field(
        False, description="compute blocks again in the backward pass, to keep the memory of one"
    )

    _whole_heads = field_validator("width")(whole_heads)


def sized(width: int, depth: int, patch: int, tubelet: int) -> VideoSize:
    """A video encoder's size from a recipe's keys, with a head per 64 of the width and at least two.

    ``brain.models.layers.video.SIZES`` by these keys: ViT-L is width 1024, depth 24, patch 16.
    """
    return VideoSize(width, depth, max(2, width // 64), tubelet, patch)


class TokenHead(nn.Module):
    """The tokens of one time as one vector: float (N, S, width) to (N, dim).

    A linear map narrows every token to ``CHANNELS``, which keep their places side by side; behind them lie BatchNorm,
    without scale and shift, and a linear map. The mean over places in their stead knows little of where things are,
    and hardly varies at first (a standard deviation of 0.004 over like videos).
    """

    CHANNELS = 16

    def __init__(self, places: int, width: int, dim: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, self.CHANNELS)
        self.norm = nn.BatchNorm1d(places * self.CHANNELS, affine=False)
        self.out = nn.Linear(places * self.CHANNELS, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.norm(self.narrow(tokens).flatten(1)))


class VideoObserver(Encoder):
    """An observation as a short video; its latent is what the tokens of the last time position hold.

    float (N, stack * C, H, W) in [-1, 1], oldest frame first, to (N, dim).
    """

    Options = VideoOptions
    exports = False

    def __init__(self, options: VideoOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        size = sized(options.width, options.depth, options.patch, options.tubelet)
        self.video = VideoEncoder(frames.channels, size, options.checkpointing)
        places = math.prod(-(-side // options.patch) for side in (frames.height, frames.width))
        self.head = TokenHead(places, options.width, options.dim)

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        super().check(options, recipe)
        stack = recipe.observation.stack
        if stack % options.tubelet:
            raise ValueError(f"observation.stack {stack} must be a multiple of encoder.tubelet {options.tubelet}")

    def forward(self, observation: Tensor) -> Tensor:
        latent: Tensor = self.head(self.video(observation.unflatten(1, (self.frames.stack, -1)))[:, -1])
        return latent
