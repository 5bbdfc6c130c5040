"""The latent plane: two directions in which latents vary most, for drawing where they go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA


class Plane:
    """The first two principal components of latents (N, *L)."""

    def __init__(self, latents: np.ndarray) -> None:
        z = latents.reshape(len(latents), -1)
        self.spread = max(float(z.std()), 1e-6)
        """standard deviation over all dimensions"""
        fitted = PCA(min(2, *z.shape), svd_solver="full").fit(z)
        self._mean = fitted.mean_
        self._axes = np.zeros((z.shape[1], 2), z.dtype)
        self._axes[:, : fitted.n_components_] = fitted.components_.T / np.maximum(
            np.sqrt(fitted.explained_variance_), 1e-6
        )
        self.cloud: np.ndarray = (z - self._mean) @ self._axes
        """where those latents are, (N, 2)"""

    def places(self, latents: Sequence[np.ndarray]) -> list[tuple[float, float]]:
        """Where latents (*L) are; empty for latents of another size, such as a part of these."""
        flat = [z.reshape(-1) for z in latents]
        if any(len(z) != len(self._mean) for z in flat):
            return []
        return [(float(x), float(y)) for x, y in ((z - self._mean) @ self._axes for z in flat)]
