"""The two residual halves of a pre-norm transformer block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """x + self-attention(LayerNorm(x)) among the L tokens of each sequence: (..., L, width) to the same.

    Vaswani et al. 2017, "Attention Is All You Need", equation 1 and section 3.2.2; the norm lies before (Xiong et al.
    2020, "On Layer Normalization in the Transformer Architecture"). Without a mask: every token sees every other.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} must be a multiple of its {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        sequences = self.norm(x).flatten(0, -3)
        split = self.query_key_value(sequences).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*split.unbind(0))
        return x + self.out(mixed.transpose(1, 2).flatten(2)).view_as(x)


class FeedForward(nn.Module):
    """x + MLP(LayerNorm(x)), token by token, GELU between, four times as wide: (..., width) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
