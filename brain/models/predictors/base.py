"""What every predictor is: one model step in latent space, and its rollout."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.recipes.schema import PredictorOptions, Recipe


class LogVariance(nn.Sequential):
    """An MLP of one hidden layer: latent (N, D) and action (N, A) to the log-variance of each dimension, (N, D)."""

    def __init__(self, dim: int, action_dim: int, width: int) -> None:
        super().__init__(*mlp(dim + action_dim, width, dim, 1))

    def forward(self, z: Tensor, action: Tensor) -> Tensor:  # type: ignore[override]  # two inputs, joined
        return super().forward(torch.cat([z, action], 1))


class Predictor(nn.Module):
    """Latent dynamics P(z, a) -> next z.

    ``forward`` is one model step; ``rollout`` unrolls it on its own predictions. A predictor with memory (the
    transformer) overrides ``rollout`` to attend over the steps before.
    """

    Options: ClassVar[type[PredictorOptions]] = PredictorOptions
    """The options that a recipe may set."""

    def __init__(self, options: PredictorOptions, dim: int, action_dim: int) -> None:
        super().__init__()
        self.dim, self.action_dim = dim, action_dim
        self.width = options.width

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        """Raise ``ValueError``, naming cause and fix, where the rest of the recipe does not suit ``options``."""

    def variance_head(self) -> nn.Module:
        """A new head for the log-variance of the prediction's error: (N, D) and (N, A) to (N, D)."""
        return LogVariance(self.dim, self.action_dim, self.width)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        """float (N, D) and (N, A) to the next latent (N, D)."""
        raise NotImplementedError

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        """From z (N, D) under actions (N, K, A) to the K next latents (N, K, D)."""
        steps = []
        for action in actions.unbind(1):
            z = self(z, action)
            steps.append(z)
        return torch.stack(steps, 1)
