"""What every predictor is: one model step in latent space, and its rollout."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.models.space import Kind, LatentSpace
from brain.parts import PREDICTORS
from brain.recipes.schema import PredictorOptions, Recipe


class Predictor(nn.Module):
    """Latent dynamics P(z, a) -> next z. A latent is (D,), or (T, D) where it is a grid (``brain.models.space``).

    ``forward`` is one model step; ``rollout`` unrolls it on its own predictions. A predictor with memory (the
    transformer) overrides ``rollout`` to attend over the steps before. One of grids overrides ``step`` and
    ``variance_head``.
    """

    Options: ClassVar[type[PredictorOptions]] = PredictorOptions
    """The options that a recipe may set."""
    latents: ClassVar[Kind] = "vector"
    """What it takes."""
    vector_alone: ClassVar[bool] = False
    """Whether the vector beside a grid goes on without its cells: then there is ``rollout_vector``."""

    def __init__(self, options: PredictorOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__()
        self.space, self.action_dim = space, action_dim
        self.width = options.width

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        """Raise ``ValueError``, naming cause and fix, where the rest of the recipe does not suit ``options``."""
        made = recipe.encoder.part().latents
        if made != cls.latents:
            fit = " or ".join(kind for kind in PREDICTORS if PREDICTORS.get(kind).latents == made)
            raise ValueError(
                f"predictor {options.kind} takes latents of the kind {cls.latents}, but those of encoder "
                f"{recipe.encoder.kind} are of the kind {made}: set objective.predictor.kind and "
                f"prediction.predictor.kind to {fit}"
            )

    def variance_head(self) -> nn.Module:
        """A new head for the log-variance of the prediction's error: features of ``step`` to (N, *shape)."""
        return mlp(self.space.dim + self.action_dim, self.width, self.space.dim, 1)

    def step(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(N, *shape) and (N, A) to the next latent, and to what the variance head reads."""
        return self(z, action), torch.cat([z, action], 1)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        """float (N, *shape) and (N, A) to the next latent (N, *shape)."""
        raise NotImplementedError

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        """From z (N, *shape) under actions (N, K, A) to the K next latents (N, K, *shape)."""
        steps = []
        for action in actions.unbind(1):
            z = self(z, action)
            steps.append(z)
        return torch.stack(steps, 1)

    def rollout_vector(self, vector: Tensor, actions: Tensor) -> Tensor:
        """The same of the vector beside a grid alone: (N, R * D) and (N, K, A) to (N, K, R * D)."""
        raise NotImplementedError
