"""The video transformer as an encoder of observations, like every other encoder."""

from __future__ import annotations

import math

from torch import Tensor, nn

from brain.models.layers.video import VideoEncoder, VideoSize


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


class VideoObserver(nn.Module):
    """An observation as a short video; its latent is what the tokens of the last time position hold.

    float (N, stack * C, H, W) in [-1, 1], oldest frame first, to (N, dim). ``stack`` says how many frames share the
    channels; ``width``, ``depth``, ``patch`` (pixels) and ``tubelet`` (frames) give the transformer's size.
    """

    def __init__(
        self,
        channels: int,
        frame_size: tuple[int, int],
        dim: int,
        width: int,
        stack: int = 1,
        depth: int = 4,
        patch: int = 8,
        tubelet: int = 2,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if channels % stack:
            raise ValueError(f"{channels} channels are no {stack} frames")
        self.stack = stack
        self.video = VideoEncoder(channels // stack, sized(width, depth, patch, tubelet), checkpointing)
        self.head = TokenHead(math.prod(-(-side // patch) for side in frame_size), width, dim)

    def forward(self, observation: Tensor) -> Tensor:
        latent: Tensor = self.head(self.video(observation.unflatten(1, (self.stack, -1)))[:, -1])
        return latent
