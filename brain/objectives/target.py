"""A moving average of the encoder, whose embeddings are predicted."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


class EMATarget(nn.Module):
    """weights <- m * weights + (1 - m) * encoder's weights, m from ``start`` to ``end`` by a cosine.

    Grill et al. 2020, "Bootstrap Your Own Latent", section 3.2 with its schedule of equation 8 (there from 0.996 to 1).
    Buffers (BatchNorm's averages) are copied.
    """

    def __init__(self, encoder: nn.Module, start: float, end: float) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.start, self.end = start, end

    def momentum(self, fraction: float) -> float:
        """m when ``fraction`` of the training is over, 0 to 1."""
        return self.end - (self.end - self.start) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2

    @torch.no_grad()
    def update(self, encoder: nn.Module, fraction: float) -> None:
        """Move towards ``encoder``."""
        share = 1 - self.momentum(fraction)
        for mine, theirs in zip(self.encoder.parameters(), encoder.parameters()):
            mine.lerp_(theirs, share)
        for average, newest in zip(self.encoder.buffers(), encoder.buffers()):
            average.copy_(newest)
