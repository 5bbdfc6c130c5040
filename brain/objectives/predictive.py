"""Joint prediction: the encoder learns by being predictable from action and past, without collapsing."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from brain.data.observations import stacked
from brain.data.windows import Batch
from brain.models.encoders.base import Encoder
from brain.models.world_model import make_predictor
from brain.objectives.base import Regularised, RegularisedOptions, Terms
from brain.objectives.losses import GridInverseDynamics, InvarianceLoss, InverseDynamics
from brain.objectives.target import EMATarget
from brain.recipes import schema


class PredictiveOptions(RegularisedOptions):
    rollout: int = Field(1, ge=1, le=64, description="model steps unrolled")
    target: Literal["shared", "stop-gradient", "ema"] = Field(
        "shared",
        description="what is predicted. shared = the encoder's embeddings, with gradient; stop-gradient "
        "= without; ema = those of a moving average of the encoder, which is then what is kept",
    )
    momentum: float = Field(0.99, ge=0, le=1, description="ema: share of the average kept at each step, at the start")
    momentum_end: float = Field(0.99, ge=0, le=1, description="ema: the same at the end; a cosine between")
    regularise: Literal["embeddings", "start", "rollout"] = Field(
        "embeddings",
        description="what variance, covariance and sigreg act on. embeddings = those of every step of the "
        "window; start = those that rollouts start from; rollout = these and every prediction unrolled from them",
    )
    temporal_similarity: float = Field(
        0.0, ge=0, description="weight of the squared distance between consecutive embeddings"
    )
    inverse_dynamics: float = Field(0.0, ge=0, description="weight of predicting the action between two embeddings")
    predictor: schema.Predictor = schema.chosen("trained jointly")

    @model_validator(mode="after")
    def _no_dead_keys(self) -> PredictiveOptions:
        """Refuse a key that this target never reads."""
        if self.target != "ema":
            if (self.momentum, self.momentum_end) != (0.99, 0.99):
                raise ValueError("momentum belongs to the target ema: leave it out, or set objective.target=ema")
            return self
        if self.expander:
            raise ValueError("the expander has no moving average: set objective.expander=0 with objective.target=ema")
        if self.regularise != "embeddings":
            for key in ("temporal_similarity", "inverse_dynamics"):
                if getattr(self, key):
                    raise ValueError(
                        f"{key} needs every step embedded with gradient, which target ema does for "
                        f"regularise=embeddings alone: set objective.{key}=0"
                    )
        return self


class Predictive(Regularised):
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

    Options = PredictiveOptions
    keeps_predictor = True
    replayable = True
    options: PredictiveOptions

    def __init__(self, options: PredictiveOptions, encoder: Encoder, action_dim: int) -> None:
        super().__init__(options, encoder, action_dim)
        self.steps = options.rollout
        self.invariance = InvarianceLoss()
        self.predictor = make_predictor(options.predictor, encoder.space, action_dim)
        self.inverse_dynamics: InverseDynamics | GridInverseDynamics | None = None
        if options.inverse_dynamics and action_dim:
            kind = InverseDynamics if encoder.space.grid is None else GridInverseDynamics
            self.inverse_dynamics = kind(encoder.space, action_dim)
        self.ema: EMATarget | None = None

    @classmethod
    def unused(cls, options: Any, action_dim: int) -> list[str]:
        return ["inverse_dynamics"] if options.inverse_dynamics and not action_dim else []

    def begin(self, encoder: nn.Module) -> None:
        if self.options.target == "ema":
            self.ema = EMATarget(encoder, self.options.momentum, self.options.momentum_end)

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
        }[self.options.regularise].flatten(0, 1)
        loss, parts = self.regularised(self.expander(seen), generator=generator)
        projected = self.expander(torch.cat([predicted, target]).flatten(0, 1)).unflatten(0, (-1, self.steps))
        parts["prediction"] = self.invariance(*projected.chunk(2))
        loss = loss + self.options.invariance * parts["prediction"]
        if self.options.temporal_similarity:
            parts["temporal_similarity"] = self.invariance(windows[:, 1:], windows[:, :-1])
            loss = loss + self.options.temporal_similarity * parts["temporal_similarity"]
        if self.inverse_dynamics is not None:
            parts["inverse_dynamics"] = self.inverse_dynamics(
                windows[:, :-1].flatten(0, 1), windows[:, 1:].flatten(0, 1), batch.actions.flatten(0, 1)
            )
            loss = loss + self.options.inverse_dynamics * parts["inverse_dynamics"]
        return Terms(loss, parts, windows.flatten(0, 1))

    def _embed(self, encoder: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings with gradient, (B, rollout + 1, D) or only the first, (B, 1, D); targets (B, rollout, D)."""
        if self.ema is None:
            windows = encoder(stacked(batch.frames, self.stack)).float().unflatten(0, (-1, self.steps + 1))
            target = windows[:, 1:]
            return windows, target.detach() if self.options.target == "stop-gradient" else target
        with torch.no_grad():
            target = self.ema.encoder(stacked(batch.frames[:, 1:], self.stack)).float().unflatten(0, (-1, self.steps))
        every = self.options.regularise == "embeddings"
        frames = batch.frames if every else batch.frames[:, : self.stack]
        return encoder(stacked(frames, self.stack)).float().unflatten(0, (len(batch.frames), -1)), target
