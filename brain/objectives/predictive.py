"""Joint prediction: the encoder learns by being predictable from action and past, without collapsing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brain.data.observations import stacked
from brain.data.windows import Batch
from brain.models.world_model import make_predictor
from brain.objectives.base import Objective, Terms
from brain.objectives.losses import InvarianceLoss, InverseDynamics
from brain.objectives.target import EMATarget
from brain.recipes import schema


class Predictive(Objective):
    """invariance * |P^k(z_0, a) - target_k|^2 over k = 1..rollout, + variance * V + covariance * C + sigreg * S
    + temporal_similarity * |z_k+1 - z_k|^2 + inverse dynamics.

    * target ``shared``: target_k = z_k, with gradient. Sobal et al. 2025, "Learning from Reward-Free Offline Data: A
      Case for Planning with Latent Dynamics Models" (PLDM), section 3, whose temporal similarity is optional here.
    * ``stop-gradient``: the same without it. Chen and He 2021, "Exploring Simple Siamese Representation Learning".
    * ``ema``: target_k from a moving average of the encoder. Grill et al. 2020, "Bootstrap Your Own Latent".

    V, C and S see what ``regularise`` says; ``start`` and ``rollout`` leave the encoder one embedding a window to make
    with gradient under target ``ema``. With an expander, predictions and targets go through it before they are
    compared, and V, C and S see its output.
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
        windows, target = self._embed(encoder, batch)
        predicted = self.predictor.rollout(windows[:, 0], batch.actions)
        seen = {
            "embeddings": windows,
            "start": windows[:, :1],
            "rollout": torch.cat([windows[:, :1], predicted], 1),
        }[self.weights.regularise].flatten(0, 1)
        loss, parts = self.regularised(self.expander(seen), generator=generator)
        projected = self.expander(torch.cat([predicted, target]).flatten(0, 1)).unflatten(0, (-1, self.steps))
        parts["prediction"] = self.invariance(*projected.chunk(2))
        loss = loss + self.weights.invariance * parts["prediction"]
        if self.weights.temporal_similarity:
            parts["temporal_similarity"] = self.invariance(windows[:, 1:], windows[:, :-1])
            loss = loss + self.weights.temporal_similarity * parts["temporal_similarity"]
        if self.inverse_dynamics is not None:
            parts["inverse_dynamics"] = self.inverse_dynamics(
                windows[:, :-1].flatten(0, 1), windows[:, 1:].flatten(0, 1), batch.actions.flatten(0, 1)
            )
            loss = loss + self.weights.inverse_dynamics * parts["inverse_dynamics"]
        return Terms(loss, parts, windows.flatten(0, 1))

    def _embed(self, encoder: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings with gradient, (B, rollout + 1, D) or only the first, (B, 1, D); targets (B, rollout, D)."""
        if self.ema is None:
            windows = encoder(stacked(batch.frames, self.stack)).float().unflatten(0, (-1, self.steps + 1))
            target = windows[:, 1:]
            return windows, target.detach() if self.weights.target == "stop-gradient" else target
        with torch.no_grad():
            target = self.ema.encoder(stacked(batch.frames[:, 1:], self.stack)).float().unflatten(0, (-1, self.steps))
        every = self.weights.regularise == "embeddings"
        frames = batch.frames if every else batch.frames[:, : self.stack]
        return encoder(stacked(frames, self.stack)).float().unflatten(0, (len(batch.frames), -1)), target
