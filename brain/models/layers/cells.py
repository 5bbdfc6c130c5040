"""Converting grid latents to and from the layout of convolutions."""

from __future__ import annotations

from torch import Tensor


def to_cells(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, H * W, D), row by row, to (N, D, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def to_tokens(cells: Tensor) -> Tensor:
    """(N, D, H, W) to (N, H * W, D), row by row."""
    return cells.flatten(2).transpose(1, 2)
