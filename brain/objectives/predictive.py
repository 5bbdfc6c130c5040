"""Joint prediction: the encoder learns by being predictable from action and past, without collapsing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brain.losses import InvarianceLoss, InverseDynamics
from brain.model import make_predictor
from brain.objectives.objective import Objective, Terms
from brain.objectives.target import EMATarget
from brain.observe import stacked
from brain.recipes import schema
from brain.stream import Batch


class Predictive(Objective):
    """invariance * |P^k(z_0, a) - target_k|^2 over k = 1..rollout, + variance * V(z) + covariance * C(z)
    + temporal_similarity * |z_k+1 - z_k|^2 + inverse dynamics; V and C over all steps of all windows.

    * target ``shared``: target_k = z_k, with gradient. Sobal et al. 2025, "Learning from Reward-Free Offline Data: A
      Case for Planning with Latent Dynamics Models" (PLDM), section 3, whose temporal similarity is optional here.
    * ``stop-gradient``: the same without it. Chen and He 2021, "Exploring Simple Siamese Representation Learning".
    * ``ema``: target_k from a moving average of the encoder; z_0 alone has a gradient, and V and C see it alone.
      Grill et al. 2020, "Bootstrap Your Own Latent".
    """

    def __init__(self, recipe: schema.Recipe, action_dim: int) -> None:
        super().__init__(recipe, action_dim)
        self.steps = recipe.objective.rollout
        self.invariance = InvarianceLoss()
        self.predictor = make_predictor(recipe.objective.predictor, recipe.encoder.dim, action_dim)
        self.inverse_dynamics = None
        if recipe.objective.inverse_dynamics and action_dim:
            self.inverse_dynamics = InverseDynamics(recipe.encoder.dim, action_dim)
        self.ema: EMATarget | None = None

    def begin(self, encoder: nn.Module) -> None:
        if self.weights.target == "ema":
            self.ema = EMATarget(encoder, self.weights.momentum, self.weights.momentum_end)

    def after_step(self, encoder: nn.Module, fraction: float) -> None:
        if self.ema is not None:
            self.ema.update(encoder, fraction)

    def kept(self, encoder: nn.Module) -> dict[str, nn.Module]:
        return {"model": encoder if self.ema is None else self.ema.encoder, "predictor": self.predictor}

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        z, start, target = self._embed(encoder, batch)
        predicted = self.predictor.rollout(start, batch.actions)
        parts = {
            "prediction": self.invariance(predicted, target),
            "variance": self.variance(z),
            "covariance": self.covariance(z),
        }
        loss = (
            self.weights.invariance * parts["prediction"]
            + self.weights.variance * parts["variance"]
            + self.weights.covariance * parts["covariance"]
        )
        if self.weights.temporal_similarity:
            windows = z.unflatten(0, (-1, self.steps + 1))
            parts["temporal_similarity"] = self.invariance(windows[:, 1:], windows[:, :-1])
            loss = loss + self.weights.temporal_similarity * parts["temporal_similarity"]
        if self.inverse_dynamics is not None:
            windows = z.unflatten(0, (-1, self.steps + 1))
            parts["inverse_dynamics"] = self.inverse_dynamics(
                windows[:, :-1].flatten(0, 1), windows[:, 1:].flatten(0, 1), batch.actions.flatten(0, 1)
            )
            loss = loss + self.weights.inverse_dynamics * parts["inverse_dynamics"]
        return Terms(loss, parts, z)

    def _embed(self, encoder: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings with gradient (N, D), those that rollouts start from (B, D), and the targets (B, rollout, D)."""
        if self.ema is not None:
            z = encoder(stacked(batch.frames[:, : self.stack], self.stack)).float()
            with torch.no_grad():
                target = self.ema.encoder(stacked(batch.frames[:, 1:], self.stack)).float()
            return z, z, target.unflatten(0, (-1, self.steps))
        z = encoder(stacked(batch.frames, self.stack)).float()
        windows = z.unflatten(0, (-1, self.steps + 1))
        target = windows[:, 1:]
        return z, windows[:, 0], target.detach() if self.weights.target == "stop-gradient" else target
