"""Predicts the tokens of the times of a clip that an encoder did not see."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brain.models.layers.patches import sinusoids, sinusoids_2d
from brain.models.layers.video import FactorisedBlock


class MaskedPredictor(nn.Module):
    """Factorised attention over the context's tokens and, for each hidden time and place, one query.

    Bardes et al. 2024, "Revisiting Feature Prediction for Learning Visual Representations from Video" (V-JEPA),
    section 3: a query is a learned token plus the sin-cos embedding of where it lies. Whole times are hidden here, so
    context and queries together are a full grid, and blocks that attend over space, then over time, fit it. With a
    head per 64 of ``width``, and at least two; ``features`` is the encoder's width.
    """

    def __init__(self, features: int, width: int, depth: int) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Linear(features, width)
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(FactorisedBlock(width, max(2, width // 64)) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, features))

    def forward(self, context: Tensor, seen: Tensor, hidden: Tensor, grid: tuple[int, int]) -> Tensor:
        """Context float (B, K, S, features) of the times ``seen``, int64 (B, K), to (B, M, S, features) of ``hidden``,
        int64 (B, M); ``grid`` is the rows and columns of the S places."""
        queries = self.query.expand(*hidden.shape, context.shape[2], -1)
        place = sinusoids_2d(*grid, self.width, context.device)
        time = sinusoids(torch.cat([seen, hidden], 1), self.width)[:, :, None]
        tokens = torch.cat([self.embed(context), queries.to(context.dtype)], 1) + (place + time).to(context.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        return self.out(tokens[:, seen.shape[1] :])
