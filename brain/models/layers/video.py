"""A video transformer that attends over space, then over time: from 0.3 million parameters to ViT-L's width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from brain.models.layers.attention import Attention, FeedForward
from brain.models.layers.patches import sinusoids, sinusoids_2d, tubelets


@dataclass(frozen=True)
class VideoSize:
    """The size of a video encoder, and the box of ``time`` frames by ``side`` x ``side`` pixels that is one token."""

    width: int
    depth: int
    heads: int
    time: int = 2
    side: int = 16

    def __post_init__(self) -> None:
        if self.width % 4 or self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of 4 and of its {self.heads} heads")


# Widths, depths and heads of Dosovitskiy et al. 2021, table 1, and Touvron et al. 2021, table 1. A factorised block has
# two attentions: a third more parameters than theirs.
SIZES = {
    "tiny": VideoSize(64, 4, 2, side=8),
    "vit-ti": VideoSize(192, 12, 3),
    "vit-s": VideoSize(384, 12, 6),
    "vit-b": VideoSize(768, 12, 12),
    "vit-l": VideoSize(1024, 24, 16),
}


class FactorisedBlock(nn.Module):
    """Attention among the places of one time, then among the times of one place, then an MLP.

    Arnab et al. 2021, "ViViT: A Video Vision Transformer", model 3, equations 4 to 6. With T' times and S places it
    costs T' S (T' + S) where joint attention costs (T' S)^2. (B, T', S, width) to the same.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.space = Attention(width, heads)
        self.time = Attention(width, heads)
        self.feed_forward = FeedForward(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.space(tokens)
        tokens = self.time(tokens.transpose(1, 2)).transpose(1, 2)
        return self.feed_forward(tokens)


class VideoEncoder(nn.Module):
    """Tokens of a video, each seeing all the video: float (B, T, channels, H, W) in [-1, 1] to (B, T', S, width).

    T' = ceil(T / time) and S = ceil(H / side) * ceil(W / side), row by row; T, H and W are padded to whole boxes by
    repetition. Any length and frame size: positions are fixed sin-cos embeddings, of the place plus of the time.
    ``checkpointing`` computes the blocks again in the backward pass in place of keeping their activations (Chen et
    al. 2016, "Training Deep Nets with Sublinear Memory Cost"): the memory of one block, for a third more arithmetic.
    """

    def __init__(self, channels: int, size: VideoSize, checkpointing: bool = False) -> None:
        super().__init__()
        self.size = size
        self.checkpointing = checkpointing
        self.box = nn.Linear(size.time * channels * size.side**2, size.width)
        self.blocks = nn.ModuleList(FactorisedBlock(size.width, size.heads) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width)

    def embed(self, video: Tensor) -> Tensor:
        """The tokens before the blocks: every box by itself, with its place and time."""
        boxes = tubelets(video, self.size.time, self.size.side)
        _, steps, rows, columns, _ = boxes.shape
        place = sinusoids_2d(rows, columns, self.size.width, boxes.device)
        time = sinusoids(torch.arange(steps, device=boxes.device), self.size.width)
        return self.box(boxes.flatten(2, 3)) + (place + time[:, None]).to(self.box.weight.dtype)

    def forward(self, video: Tensor, keep: Tensor | None = None) -> Tensor:
        """``keep``, int64 (B, K) in [0, T'), leaves only these times of each video, with their positions, in its order.

        Tokens of the others are dropped before the blocks, which neither see nor pay for them, as V-JEPA's context
        encoder does (Bardes et al. 2024, "Revisiting Feature Prediction for Learning Visual Representations from
        Video", section 3). To (B, K, S, width).
        """
        tokens = self.embed(video)
        if keep is not None:
            tokens = tokens.gather(1, keep[:, :, None, None].expand(-1, -1, *tokens.shape[2:]))
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return self.norm(tokens)

    def encode_long(
        self, video: Tensor, chunk: int, overlap: int = 0, head: Callable[[Tensor], Tensor] = lambda tokens: tokens
    ) -> Tensor:
        """Tokens of a video too long for one pass, or what ``head`` makes of those of one time.

        Encodes ``chunk`` frames at a time, each chunk as a video of its own that begins at time 0 (the positions that
        training on clips has seen) and shares ``overlap`` frames with the next. Of the times that two chunks share,
        the first half comes from the earlier one and the second from the later, so that no time is at an edge. The
        last chunk ends with the video, whatever it shares. ``video`` may lie on another device: a chunk is moved when
        its turn comes, and under ``torch.no_grad`` only one chunk's activations are held at once.
        (B, T, channels, H, W) to (B, T', S, width), or with ``head``, (N, S, width) to (N, ...), to (B, T', ...).
        """
        time = self.size.time
        if chunk % time or overlap % time or not 0 <= overlap < chunk:
            raise ValueError(f"chunk {chunk} > overlap {overlap} >= 0 must be multiples of {time}, the frames of a box")
        steps, length = -(-video.shape[1] // time), chunk // time
        last = max(0, steps - length)
        starts = [*range(0, last, length - overlap // time), last]
        parts = []
        begin = 0
        for start, following in zip(starts, [*starts[1:], steps]):
            end = (start + length + following) // 2 if start < last else steps
            clip = video[:, start * time : (start + length) * time].to(self.box.weight.device)
            tokens = self(clip)[:, begin - start : end - start]
            parts.append(head(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2]))
            begin = end
        return torch.cat(parts, 1)
