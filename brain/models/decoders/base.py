"""The interface of decoders: latents to frames, for visualisation only; the encoder is never trained through them."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class Decoder(nn.Module):
    """Standardised latents (N, *latent_shape) to frames (N, H, W, C) in [0, 1]."""

    LEARNING_RATE: float
    """Peak of the schedule that suits it."""
    takes_grid: ClassVar[bool] = False
    """Whether it reads the cells of grids, instead of vectors."""

    def begin(self, mean: Tensor) -> None:
        """Called once before training with the mean training frame, (H, W, C) in [0, 1]."""

    def forward(self, z: Tensor) -> Tensor:
        raise NotImplementedError
