"""World models that were not trained, to plan with in place of the run's: what its encoder is worth.

Each has a predictor of its own, fitted to its latents as stage 2 fits the recipe's, also from forecasts, for the
recipe's steps of stage 2. A run that was trained for other ``--steps``, or whose predictor was trained in stage 1 too,
has had more or fewer.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from brain.data.observations import stacked
from brain.data.sampling import choose, dense
from brain.data.windows import Timing
from brain.evaluation.baselines import STEPS, fit, pca_width, principal_components
from brain.models.encoders.base import Encoder, Frames
from brain.models.latents import LatentTable, embed, encoder_of, sample_observations
from brain.models.space import LatentSpace
from brain.models.untrained import OBSERVATIONS, random_encoder
from brain.models.world_model import WorldModel
from brain.recipes.schema import Recipe
from brain.training.predictor import Told
from shared.errors import TinyJEPAError
from shared.store.reader import Store

Baseline = Literal["untrained", "pca"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
LATENTS = 60_000
"""Embedded at most, where the recipe has no lower limit."""


class Components(Encoder):
    """Principal components of observations, float32 (N, stack * C, H, W) to (N, width), or fewer where the sample has
    fewer observations or numbers."""

    def __init__(self, sample: Tensor, frames: Frames, width: int, seed: int) -> None:
        torch.nn.Module.__init__(self)
        found = principal_components(sample.flatten(1).numpy(), width, seed)
        self.frames, self.space = frames, LatentSpace(len(found.components_))
        self.mean: Tensor
        self.components: Tensor
        self.register_buffer("mean", torch.from_numpy(found.mean_).float())
        self.register_buffer("components", torch.from_numpy(found.components_).float())

    def forward(self, observation: Tensor) -> Tensor:
        return (observation.flatten(1) - self.mean) @ self.components.T


def effort(recipe: Recipe) -> dict[str, int]:
    """How much a baseline's predictor is fitted: ``latents`` at most, and ``steps``."""
    section = recipe.prediction
    return {"latents": min(section.max_latents, LATENTS), "steps": max(section.steps, STEPS)}


def baseline_model(kind: Baseline, model: WorldModel, store: Store, seed: int, quiet: bool = True) -> WorldModel:
    """A world model like ``model``, on ``store``'s training episodes: its encoder before training, with statistics of
    real observations, or ``pca`` of as many components as the vector has numbers.

    Raises ``TinyJEPAError`` where no training episode holds a model step.
    """
    recipe, timing = model.recipe, Timing.of(model.recipe.observation)
    rng = np.random.default_rng(seed)
    refs = choose(store.split("train"), timing, effort(recipe)["latents"])
    if not refs:
        raise TinyJEPAError(f"{store.path}: no training episode holds a model step: collect longer ones")
    table = LatentTable(store.spec, refs, timing, [dense(ref, timing) for ref in refs])
    sample = sample_observations(store, table, OBSERVATIONS, rng)
    encoder: Encoder
    if kind == "untrained":
        encoder = random_encoder(recipe, store.spec, sample, seed, model.device).encoder
    else:
        observations = stacked(torch.from_numpy(sample), timing.stack)
        encoder = Components(observations, model.encoder.frames, pca_width(model.space), seed).to(model.device)
    embed(store, table, {kind: encoder_of(WorldModel(recipe, store.spec, encoder, model.dynamics))})
    fitted = fit(
        table, table.latents[kind], recipe, seed, model.device, encoder.space,
        steps=effort(recipe)["steps"], pushforward=True, tell=Told(f"fitting a predictor to {kind}", quiet),
    )  # fmt: skip
    return WorldModel(recipe, store.spec, encoder, fitted.dynamics).to(model.device).eval()
