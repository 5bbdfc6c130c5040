"""What every predictor is: one model step in latent space, and its rollout."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Predictor(nn.Module):
    """Latent dynamics P(z, a) -> next z.

    ``forward`` is one model step; ``rollout`` unrolls it on its own predictions. A predictor with memory (the
    transformer) overrides ``rollout`` to attend over the steps before.
    """

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
