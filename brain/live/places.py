"""Where imagined latents are in the picture of the world."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from brain.planning.dynamics import Dynamics
from shared.worlds.base import World
from shared.worlds.tasks import Reach

SIDE = 20
"""Goals are shown at so many places across the picture, and as many down."""
COMPONENTS = 32
NEAR = 5
"""Number of the nearest goals that have most of the weight."""


class Places:
    """Reads places off latents, by the latents of goals all over the picture.

    A latent is where the goals most like it are: the mean of their places, weighted by exp(-2 (d - d1) / (d5 - d1)), d
    being squared distances in the principal components of the goals' latents, and d1 and d5 the nearest and the fifth
    nearest one. A linear reader, which the latents of real frames suit better, is led astray by what predictions add.
    """

    def __init__(self, task: Reach, world: World, dynamics: Dynamics, seed: int, state: np.ndarray) -> None:
        """The layout is that of ``state`` (S,), in an episode of this ``seed``; ``world`` is reset many times."""
        latents, places = [], []
        world.reset(seed=seed)  # the task reads the dimensions of this episode
        shares = (np.arange(SIDE) + 0.5) / SIDE
        for across in shares:
            for down in shares:
                frame, _ = world.reset(seed=seed, options=task.pointed(state, float(across), float(down)))
                goal = world.state()
                with torch.no_grad():
                    z = dynamics.observe(np.stack([frame] * dynamics.stack), goal)
                latents.append(z.flatten().cpu().numpy())
                places.append(task.places(goal[None].astype(np.float64)))
        every = np.stack(latents)
        self._axes = PCA(min(COMPONENTS, *every.shape), svd_solver="full").fit(every)
        self._goals = self._axes.transform(every)
        self._places: np.ndarray = np.concatenate(places)  # type: ignore[arg-type]

    def __call__(self, latents: Tensor) -> np.ndarray:
        """Latents (N, *L) to shares of the picture's width and height, float (N, 2)."""
        z = self._axes.transform(latents.flatten(1).cpu().numpy())
        squares = np.square(z).sum(1)[:, None] + np.square(self._goals).sum(1) - 2 * z @ self._goals.T
        ordered = np.sort(squares, 1)
        nearest, fifth = ordered[:, :1], ordered[:, NEAR - 1 : NEAR]
        weights = np.exp(-2 * (squares - nearest) / np.maximum(fifth - nearest, 1e-9))
        found: np.ndarray = weights @ self._places / weights.sum(1, keepdims=True)
        return found
