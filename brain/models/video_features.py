"""Features of a long video, frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor

from brain.data.observations import video
from brain.models.encoders.video import VideoObserver
from brain.models.world_model import WorldModel
from shared.errors import TinyJEPAError


@torch.no_grad()
def encode(model: WorldModel, frames: Tensor, chunk: int | None = None, overlap: int | None = None) -> Tensor:
    """uint8 (T, H, W, C), one model step apart, to raw float32 (T, D): the latents of the frames, seen in their clip.

    For the encoder ``video``; ``TinyJEPAError`` for others. Any length: ``chunk`` frames are encoded at a time, each
    sharing ``overlap`` with the next (``VideoEncoder.encode_long``). By default the longest clip of the training, and
    half of that. The frames of one tubelet have one latent. Unlike ``WorldModel.embed``, whose latents know what is in
    a stack, these know the past and the future of their chunk.
    """
    encoder, recipe = model.encoder.eval(), model.recipe
    if not isinstance(encoder, VideoObserver):
        raise TinyJEPAError(f"encoder {recipe.encoder.kind} encodes single observations: use an encoder video")
    time = encoder.video.size.time
    if chunk is None:
        chunk = max(getattr(recipe.objective, "clip", (encoder.frames.stack,)))
    if overlap is None:
        overlap = chunk // 2 // time * time
    whole = video(frames[None])
    latents = encoder.video.encode_long(whole, chunk, overlap, encoder.head)[0]
    return latents.repeat_interleave(time, 0)[: len(frames)]
