"""The shape of a latent: a vector, a grid of cells, or a grid with a vector beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["vector", "grid", "grid-vector"]
Array = TypeVar("Array", Tensor, np.ndarray)

BLOCKS = 4
"""Blocks of cells along each side whose means are read beside a vector."""


@dataclass(frozen=True)
class LatentSpace:
    """What an encoder maps to: one vector of ``dim``, or ``dim`` channels in each of ``grid`` = (rows, columns) cells,
    or such a grid with a vector of ``registers * dim`` beside it.

    A latent is float32 of ``shape``: (D,), or (T, D) for T cells, row by row, channels last; N of them are (N, *shape).
    A vector beside a grid is carried as ``registers`` further tokens after the cells, (T + R, D); the name is that of
    Darcet et al. 2024, "Vision Transformers Need Registers": tokens that belong to no place.
    """

    dim: int
    grid: tuple[int, int] | None = None
    registers: int = 0

    @property
    def kind(self) -> Kind:
        if self.grid is None:
            return "vector"
        return "grid-vector" if self.registers else "grid"

    @property
    def cells(self) -> int:
        """T, the cells of the grid."""
        return math.prod(self.grid or ())

    @property
    def vector(self) -> int:
        """Numbers of the vector beside the grid."""
        return self.registers * self.dim

    @property
    def shape(self) -> torch.Size:
        return torch.Size((self.dim,) if self.grid is None else (self.cells + self.registers, self.dim))

    @property
    def size(self) -> int:
        """Numbers in one latent."""
        return math.prod(self.shape)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (..., T + R, D) of a grid with a vector to the cells (..., T, D) and the vector (..., R * D)."""
        return z[..., : self.cells, :], z[..., self.cells :, :].flatten(-2)

    def join(self, cells: Tensor, vector: Tensor) -> Tensor:
        """The inverse of ``split``."""
        return torch.cat([cells, vector.unflatten(-1, (self.registers, self.dim))], -2)

    def gist(self, z: Array) -> Array:
        """What one figure about latents (N, *shape) is of: the vector beside a grid, (N, R * D), else all of them."""
        return z[:, self.cells :].reshape(len(z), self.vector) if self.registers else z

    def features(self, latents: np.ndarray) -> np.ndarray:
        """What a linear probe reads of latents (N, *shape): all their numbers, (N, size).

        Beside a grid's vector, of the cells only the means over 4 x 4 blocks: (N, R * D + 16 * D).
        """
        if not self.registers:
            return latents.reshape(len(latents), self.size)
        assert self.grid is not None
        cells = torch.from_numpy(latents[:, : self.cells]).transpose(1, 2).unflatten(2, self.grid)
        blocks = F.adaptive_avg_pool2d(cells, BLOCKS).flatten(1).numpy()
        return np.concatenate([self.gist(latents), blocks], 1)
