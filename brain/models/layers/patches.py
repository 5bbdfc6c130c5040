"""Shared by the transformers on frames: cutting frames into patches, and position embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def tubelets(video: Tensor, time: int, side: int) -> Tensor:
    """Non-overlapping boxes of ``time`` frames by ``side`` x ``side`` pixels (Arnab et al. 2021, figure 3).

    float (B, T, C, H, W) to (B, T', H', W', time * C * side * side), each rounded up: T' = ceil(T / time). Where a
    side is no multiple, the last frame, row and column are repeated.
    """
    batch, _, channels, _, _ = video.shape
    missing = [
        -length % box for length, box in zip((video.shape[4], video.shape[3], video.shape[1]), (side, side, time))
    ]
    if any(missing):
        pad = [amount for end in missing for amount in (0, end)]
        video = F.pad(video.transpose(1, 2), pad, mode="replicate").transpose(1, 2)
    steps, height, width = video.shape[1] // time, video.shape[3] // side, video.shape[4] // side
    boxes = video.reshape(batch, steps, time, channels, height, side, width, side)
    return boxes.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Fixed position embeddings (Vaswani et al. 2017, section 3.5): (...) of any number type to float32 (..., width).

    The first half of the even ``width`` are sines, the second cosines, of wavelengths 2 pi to 10000 * 2 pi.
    """
    octaves = torch.arange(width // 2, dtype=torch.float32, device=positions.device) / (width // 2)
    angles = positions[..., None].float() * torch.pow(10000.0, -octaves)
    return torch.cat([angles.sin(), angles.cos()], -1)


def sinusoids_2d(height: int, width_patches: int, width: int, device: torch.device | None = None) -> Tensor:
    """Embeddings of a grid of patches, row by row: float32 (height * width_patches, width), made on ``device``.

    Half of ``width``, a multiple of 4, tells the row and half the column (He et al. 2022, "Masked Autoencoders Are
    Scalable Vision Learners", appendix A.1).
    """
    sides = (torch.arange(side, device=device) for side in (height, width_patches))
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    return torch.cat([sinusoids(rows.flatten(), width // 2), sinusoids(columns.flatten(), width // 2)], 1)
