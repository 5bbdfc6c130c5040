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


def decoder_kind(space: LatentSpace, frame_shape: tuple[int, int, int]) -> str:
    """The registered decoder that is trained for such latents and frames."""
    if space.grid is not None:
        return "grid"
    return "mlp" if frame_shape[0] * frame_shape[1] <= SMALL_FRAME else "sub-pixel"


def make_decoder(space: LatentSpace, frame_shape: tuple[int, int, int], kind: str | None = None) -> Decoder:
    """Standardised latents (N, *space.shape) to frames (N, H, W, C) in [0, 1]; ``kind`` in place of the usual one."""
    decoder: Decoder = DECODERS.get(kind or decoder_kind(space, frame_shape))(space, frame_shape)
    return decoder


def load_decoder(run: Run, model: WorldModel) -> nn.Module:
    """The run's trained decoder. Raises ``TinyJEPAError`` if there is none.

    Its file names its kind; earlier ones do not, where ``conv`` was the decoder of vectors and large frames.
    """
    tensors, facts = checkpoint.load(run.decoder)
    shape = picture_shape(model.spec)
    kind = facts.get("decoder") or decoder_kind(model.space, shape).replace("sub-pixel", "conv")
    decoder = make_decoder(model.space, shape, kind).to(model.device)
    checkpoint.restore(run.decoder, decoder, tensors, "model")
    return decoder.eval()


@torch.no_grad()
def decode(decoder: nn.Module, z: Tensor) -> np.ndarray:
    """Standardised latents (N, D) to uint8 (N, H, W, C)."""
    return (decoder(z) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
