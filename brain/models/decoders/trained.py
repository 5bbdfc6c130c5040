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
from shared.errors import TinyJEPAError

SMALL_FRAME = 32 * 32
"""Largest frame, in pixels, for which the decoder is an MLP."""


def decoder_kind(space: LatentSpace, frame_shape: tuple[int, int, int]) -> str:
    """The registered decoder that is trained for such latents and frames."""
    if space.grid is not None:
        return "grid"
    return "mlp" if frame_shape[0] * frame_shape[1] <= SMALL_FRAME else "sub-pixel"


def kind_of_run(run: Run, model: WorldModel, wanted: str | None) -> str:
    """The decoder of the run, trained or begun; else the one that is wanted; else the usual one.

    Raises ``TinyJEPAError`` where the wanted one reads no such latents, or the run has another.
    """
    usual = decoder_kind(model.space, picture_shape(model.spec))
    if wanted is not None and DECODERS.get(wanted).takes_grid != (model.space.grid is not None):
        raise TinyJEPAError(f"decoder {wanted} does not read the latents of {run.path}: try {usual}")
    for path in (run.decoder, run.checkpoint("decoder")):
        if path.exists():
            # Earlier files do not name their kind: conv was the decoder of vectors and large frames.
            found: str = checkpoint.read_facts(path).get("decoder") or usual.replace("sub-pixel", "conv")
            if wanted not in (None, found):
                raise TinyJEPAError(f"{path} is a decoder {found}, not {wanted}: delete it to train another")
            return found
    return wanted or usual


def make_decoder(space: LatentSpace, frame_shape: tuple[int, int, int], kind: str | None = None) -> Decoder:
    """Standardised latents (N, *space.shape) to frames (N, H, W, C) in [0, 1]; ``kind`` in place of the usual one."""
    decoder: Decoder = DECODERS.get(kind or decoder_kind(space, frame_shape))(space, frame_shape)
    return decoder


def load_decoder(run: Run, model: WorldModel) -> nn.Module:
    """The run's trained decoder. Raises ``TinyJEPAError`` if there is none.

    A file of an earlier version, which does not name its kind, is read too.
    """
    tensors, _ = checkpoint.load(run.decoder)
    decoder = make_decoder(model.space, picture_shape(model.spec), kind_of_run(run, model, None)).to(model.device)
    checkpoint.restore(run.decoder, decoder, tensors, "model")
    return decoder.eval()


@torch.no_grad()
def decode(decoder: nn.Module, z: Tensor) -> np.ndarray:
    """Standardised latents (N, D) to uint8 (N, H, W, C)."""
    return (decoder(z) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
