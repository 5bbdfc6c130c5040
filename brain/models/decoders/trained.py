"""The decoder of a run: choosing it, loading it, and decoding latents to uint8 frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from brain.data.state_mode import picture_shape
from brain.models.decoders.base import Decoder
from brain.models.space import LatentSpace
from brain.models.world_model import WorldModel
from brain.parts import DECODERS
from brain.runs import checkpoint
from brain.runs.folder import Run

SMALL_FRAME = 32 * 32
"""Largest frame, in pixels, for which the decoder is an MLP."""


def make_decoder(space: LatentSpace, frame_shape: tuple[int, int, int]) -> Decoder:
    """Standardised latents (N, *space.shape) to frames (N, H, W, C) in [0, 1]."""
    kind = "mlp" if frame_shape[0] * frame_shape[1] <= SMALL_FRAME else "conv"
    if space.grid is not None:
        kind = "grid"
    decoder: Decoder = DECODERS.get(kind)(space, frame_shape)
    return decoder


def load_decoder(run: Run, model: WorldModel) -> nn.Module:
    """The run's trained decoder. Raises ``TinyJEPAError`` if there is none."""
    decoder = make_decoder(model.space, picture_shape(model.spec)).to(model.device)
    tensors, _ = checkpoint.load(run.decoder)
    checkpoint.restore(run.decoder, decoder, tensors, "model")
    return decoder.eval()


@torch.no_grad()
def decode(decoder: nn.Module, z: Tensor) -> np.ndarray:
    """Standardised latents (N, D) to uint8 (N, H, W, C)."""
    return (decoder(z) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
