"""Frames to what an encoder sees, and the augmentations that make two views of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from brain.distributed import mine, world_size


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A copy on ``device`` of values drawn on the host; to a GPU through pinned memory, without waiting."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def stacked(frames: Tensor, stack: int) -> Tensor:
    """Windows of frames to observations, one per position that has ``stack`` frames.

    uint8 (B, T, H, W, C) to float32 (B * (T - stack + 1), stack * C, H, W) in [-1, 1], channels-last in memory
    (the frames already lie that way), oldest frame first. float32 frames, which are coordinates, keep their values.
    """
    count = frames.shape[1] - stack + 1
    channels = torch.cat([frames[:, i : i + count] for i in range(stack)], -1)
    observation = channels.flatten(0, 1).permute(0, 3, 1, 2)
    if frames.dtype == torch.float32:
        return observation
    return observation.to(torch.float32).mul_(2 / 255).sub_(1)


def full_scale(frames: Tensor) -> float:
    """What divides frames: 255 for pixels (uint8), to make [0, 1] of them; 1 for coordinates (float32)."""
    return 255.0 if frames.dtype == torch.uint8 else 1.0


def video(frames: Tensor) -> Tensor:
    """uint8 (B, T, H, W, C) to what a video encoder sees: float32 (B, T, C, H, W) in [-1, 1]."""
    return frames.movedim(-1, 2).to(torch.float32).mul_(2 / 255).sub_(1)


def augment(observation: Tensor, kinds: Sequence[str], generator: torch.Generator) -> Tensor:
    """One random view per observation; all frames of a stack get the same change.
    ``generator`` may be on the host or on the observations' device. Of several processes each draws for all, and uses
    its own.

    float (N, C, H, W) in [-1, 1] to the same; ``kinds`` of crop (area 50 to 100 %, resized back), flip (left-right),
    colour (brightness, contrast and channel gains within 30 %), noise (std 0.05), cutout (a quarter of the side).
    """
    n, channels, height, width = observation.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        drawn = (shape[0] * world_size(), *shape[1:])
        values = torch.rand(drawn, generator=generator, device=generator.device).mul_(high - low).add_(low)
        return to_device(mine(values), observation.device)

    if "crop" in kinds or "flip" in kinds:
        scale = uniform(0.5, 1.0, n).sqrt() if "crop" in kinds else torch.ones(n, device=observation.device)
        mirror = torch.where(uniform(0, 1, n) < 0.5, -1.0, 1.0) if "flip" in kinds else torch.ones_like(scale)
        affine = torch.zeros(n, 2, 3, device=observation.device)
        affine[:, 0, 0], affine[:, 1, 1] = scale * mirror, scale
        affine[:, :, 2] = uniform(-1, 1, n, 2) * (1 - scale)[:, None]
        grid = F.affine_grid(affine, [n, channels, height, width], align_corners=False)
        observation = F.grid_sample(observation, grid, align_corners=False, padding_mode="border")
    if "colour" in kinds:
        gain = uniform(0.7, 1.3, n, 1, 1, 1) * uniform(0.85, 1.15, n, 3, 1, 1).repeat(1, channels // 3, 1, 1)
        observation = observation * (gain if channels % 3 == 0 else uniform(0.7, 1.3, n, 1, 1, 1))
        observation = (observation + uniform(-0.3, 0.3, n, 1, 1, 1)).clamp(-1, 1)
    if "noise" in kinds:
        drawn = (n * world_size(), *observation.shape[1:])
        noise = torch.randn(drawn, generator=generator, device=generator.device)
        observation = (observation + 0.05 * to_device(mine(noise), observation.device)).clamp(-1, 1)
    if "cutout" in kinds:
        side_y, side_x = height // 4, width // 4
        top = (uniform(0, 1, n, 1, 1, 1) * (height - side_y)).long()
        left = (uniform(0, 1, n, 1, 1, 1) * (width - side_x)).long()
        y = torch.arange(height, device=observation.device).view(1, 1, -1, 1)
        x = torch.arange(width, device=observation.device).view(1, 1, 1, -1)
        hole = (y >= top) & (y < top + side_y) & (x >= left) & (x < left + side_x)
        observation = observation.masked_fill(hole, 0)
    return observation
