"""The interface of encoders: observation to latent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from brain.models.space import Kind, LatentSpace
from brain.parts import ENCODERS
from brain.recipes.schema import EncoderOptions, Recipe


@dataclass(frozen=True)
class Frames:
    """What an encoder is shown: ``stack`` frames of ``height`` x ``width`` pixels, oldest first, channels together."""

    height: int
    width: int
    channels: int
    """of one frame"""
    stack: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an observation: (stack * channels, height, width)."""
        return self.stack * self.channels, self.height, self.width


class Encoder(nn.Module):
    """float (N, stack * channels, height, width) in [-1, 1] to latents, float (N, *latent_shape)."""

    Options: ClassVar[type[EncoderOptions]] = EncoderOptions
    """The options that a recipe may set."""
    flat: ClassVar[bool] = False
    """Whether frames of 1x1 will do, and so the coordinates of ``observation.mode`` state."""

    latents: ClassVar[Kind] = "vector"
    """What it makes; a class that makes no vectors sets its own ``space``."""
    exports: ClassVar[bool] = True
    """Whether it goes through ONNX."""

    def __init__(self, options: EncoderOptions, frames: Frames) -> None:
        super().__init__()
        self.frames = frames
        self.space = LatentSpace(options.dim)

    @property
    def latent_shape(self) -> torch.Size:
        """Of one latent: (D,), or (T, D) for a grid of T tokens (``brain.models.space``)."""
        return self.space.shape

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        """Raise ``ValueError``, naming cause and fix, where the rest of the recipe does not suit ``options``."""
        if recipe.observation.mode == "state" and not cls.flat:
            flat = " or ".join(kind for kind in ENCODERS if ENCODERS.get(kind).flat)
            raise ValueError(
                f"encoder {options.kind} needs pictures, which observation.mode state has none of: "
                f"set encoder.kind={flat}"
            )

    def forward(self, observation: Tensor) -> Tensor:
        raise NotImplementedError
