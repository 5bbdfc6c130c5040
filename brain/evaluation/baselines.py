"""Baselines that a trained model has to beat, and an upper bound.

Baselines: a *random encoder* (the recipe's network, never trained, with a predictor of its own) and *PCA* of the raw
frames. Upper bound: the *state oracle*, the recipe's predictor on the world's true state instead of a latent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from brain.data.observations import full_scale
from brain.data.states import States
from brain.device import at_most, seeded
from brain.evaluation.energies import Form
from brain.models.latents import LatentTable
from brain.models.space import Kind, LatentSpace
from brain.models.world_model import Dynamics, make_predictor
from brain.recipes.schema import PredictorOptions, Recipe
from brain.training.predictor import fit_dynamics

if TYPE_CHECKING:
    from sklearn import decomposition

STEPS = 300
"""Optimiser steps of a baseline's predictor in the judge. As many as the model has had make a stronger baseline
(``brain train --encoder untrained``, ``docs/results/untrained.md``)."""
ORACLE_STEPS = 1000
"""Of the upper bound's."""
RATE = 1e-3
"""Their peak learning rate is this at least: a recipe whose predictor goes on from stage 1 may have a lower one."""
BATCH: dict[Kind, int] = {"vector": 128, "grid": 32, "grid-vector": 32}
"""Windows per step at least, by the kind of latents."""


def pca_width(space: LatentSpace) -> int:
    """Components of the PCA beside latents of ``space``: as many as a vector's width, 128 beside grids alone."""
    if space.grid is None:
        return space.dim
    return space.vector or 128


def principal_components(flat: np.ndarray, width: int, seed: int) -> decomposition.PCA:
    """Of observations (N, P), ``width`` of them, or fewer where there are fewer observations or numbers: by
    scikit-learn's randomised SVD."""
    from sklearn import decomposition  # a second of start-up, which brain plan need not spend

    return decomposition.PCA(min(width, *flat.shape), svd_solver="randomized", random_state=seed).fit(flat)


class PCA:
    """Principal components of raw stacked pixels (or coordinates).

    Fitted on ``sample`` uint8 (N, stack, H, W, C); called, it maps (M, stack, H, W, C) to float32 (M, width), or fewer
    where the sample has fewer observations or numbers.
    """

    def __init__(self, sample: np.ndarray, width: int, seed: int) -> None:
        self._fit = principal_components(self._flat(sample), width, seed)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        projected: np.ndarray = self._fit.transform(self._flat(observations))
        return projected

    @staticmethod
    def _flat(observations: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(observations)
        return (frames.flatten(1).float() / full_scale(frames)).numpy()


def oracle_features(states: States, values: np.ndarray) -> np.ndarray:
    """True states (N, S) as the oracle's latent, float32 (N, F): angles as sine and cosine, without the states that the
    world calls absolute."""
    return states.columns(values, without=states.absolute).astype(np.float32)


class Fitted:
    """A fitted ``Dynamics`` with energies, for latents that no encoder of the run made."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics

    def standardise(self, latents: np.ndarray) -> np.ndarray:
        """Raw latents (N, *shape) to what ``rollout`` and ``energy`` take."""
        mean, std = self.dynamics.latent_mean.cpu().numpy(), self.dynamics.latent_std.cpu().numpy()
        return (latents - mean) / std

    def raw(self, latents: np.ndarray) -> np.ndarray:
        """The inverse of ``standardise``."""
        mean, std = self.dynamics.latent_mean.cpu().numpy(), self.dynamics.latent_std.cpu().numpy()
        return latents * std + mean

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        return self.dynamics.rollout(z, actions)

    def predict(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return self.dynamics.predict(z, action)

    def compare(self, mean: Tensor, log_variance: Tensor, proposal: Tensor, kind: Form, steps: int = 1) -> Tensor:
        return self.dynamics.compare(mean, log_variance, proposal, kind, steps)

    def energy(self, z: Tensor, action: Tensor, proposal: Tensor, kind: Form, steps: int = 1) -> Tensor:
        return self.dynamics.energy(z, action, proposal, kind, steps)


def fit(
    table: LatentTable,
    latents: np.ndarray,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    space: LatentSpace | None = None,
    *,
    steps: int = STEPS,
    pushforward: bool = False,
    tell: Callable[[float], None] = lambda done: None,
) -> Fitted:
    """The recipe's predictor and variance head on raw ``latents`` (M, *shape) of a table's observations.

    ``space`` is theirs; by default they are vectors, which the default predictor takes where the recipe's takes grids.
    The fit of stage 2 for ``steps`` steps, with at least ``BATCH`` windows and a peak rate of ``RATE``, whatever the
    recipe has; with ``pushforward`` as the recipe has it, where the table's episodes are long enough, else from true
    latents alone. ``tell`` hears after each step which share is done.
    """
    windows = table.windows(latents, device)
    space = space or LatentSpace(latents.shape[1])
    section = recipe.prediction
    with seeded(seed):
        options = section.predictor
        if options.part().latents != space.kind:
            options = PredictorOptions.standard()
        predictor = make_predictor(options, space, table.timing.stride * table.action.shape[1])
        dynamics = Dynamics(predictor, recipe.energy.worst).to(device)
    fair = section.model_copy(
        update={
            "pushforward": section.pushforward if pushforward and len(table.transitions(section.span)) else 0,
            "batch": max(section.batch, BATCH[space.kind]),
            "learning_rate": max(section.learning_rate, RATE),
        }
    )
    with at_most(threads=1):  # predictors are so small that more gain nothing
        fit_dynamics(dynamics, windows, fair, steps=steps, seed=seed, tell=tell)
    return Fitted(dynamics.eval())
