"""The shape of a latent: a vector, or a grid of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LatentSpace:
    """What an encoder maps to: one vector of ``dim``, or ``dim`` channels in each of ``grid`` = (rows, columns) cells.

    A latent is float32 of ``shape``: (D,), or (T, D) for T cells, row by row, channels last; N of them are (N, *shape).
    """

    dim: int
    grid: tuple[int, int] | None = None

    @property
    def shape(self) -> torch.Size:
        return torch.Size((self.dim,) if self.grid is None else (math.prod(self.grid), self.dim))

    @property
    def size(self) -> int:
        """Numbers in one latent."""
        return math.prod(self.shape)
