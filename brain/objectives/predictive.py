"""Joint prediction: the encoder learns by being predictable from action and past, without collapsing."""

from __future__ import annotations

import torch
from torch import nn

from brain.losses import InvarianceLoss, InverseDynamics
from brain.model import make_predictor
from brain.objectives.objective import Objective, Terms
from brain.observe import stacked
from brain.recipes import schema
from brain.stream import Batch


class Predictive(Objective):
    """invariance * |P^k(z_0, a) - z_k|^2 over k = 1..rollout, + variance * V(z) + covariance * C(z) + IDM.

    Gradients flow through prediction and target. Sobal et al. 2025, "Learning from Reward-Free Offline Data: A Case
    for Planning with Latent Dynamics Models" (PLDM), section 3, without its temporal-similarity term.
    """

    def __init__(self, recipe: schema.Recipe, action_dim: int) -> None:
        super().__init__(recipe, action_dim)
        self.steps = recipe.objective.rollout
        self.invariance = InvarianceLoss()
        self.predictor = make_predictor(recipe.objective.predictor, recipe.encoder.dim, action_dim)
        self.inverse_dynamics = None
        if recipe.objective.inverse_dynamics and action_dim:
            self.inverse_dynamics = InverseDynamics(recipe.encoder.dim, action_dim)

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        z = encoder(stacked(batch.frames, self.stack)).float()
        windows = z.unflatten(0, (-1, self.steps + 1))
        predicted = self.predictor.rollout(windows[:, 0], batch.actions)
        parts = {
            "prediction": self.invariance(predicted, windows[:, 1:]),
            "variance": self.variance(z),
            "covariance": self.covariance(z),
        }
        loss = (
            self.weights.invariance * parts["prediction"]
            + self.weights.variance * parts["variance"]
            + self.weights.covariance * parts["covariance"]
        )
        if self.inverse_dynamics is not None:
            parts["inverse_dynamics"] = self.inverse_dynamics(
                windows[:, :-1].flatten(0, 1), windows[:, 1:].flatten(0, 1), batch.actions.flatten(0, 1)
            )
            loss = loss + self.weights.inverse_dynamics * parts["inverse_dynamics"]
        return Terms(loss, parts, z)
