"""What a trained model has to beat, and what it could reach at best.

Floors: a *random encoder* (the recipe's network, never trained, with a predictor of its own) and *PCA* of the raw
frames. Ceiling: the *state oracle*, the recipe's predictor on the world's true state instead of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from brain.data.observations import full_scale, stacked
from brain.data.states import columns
from brain.device import one_thread
from brain.evaluation.energies import Form
from brain.evaluation.episodes import Embedded, Encoder
from brain.models.latents import LatentTable
from brain.models.space import LatentSpace
from brain.models.world_model import Dynamics, WorldModel, make_predictor
from brain.recipes.schema import PredictorOptions, Recipe
from brain.training.predictor import fit_dynamics
from shared.store.schema import StoreSpec

STEPS = 300
"""Optimiser steps of a baseline's predictor at most."""

NOT_IN_BODY_FRAME = ("x", "y", "progress")
"""Left out of the oracle's state where the world also has ``lateral_offset``: they tell where, not what moves."""


def random_encoder(recipe: Recipe, spec: StoreSpec, sample: np.ndarray, seed: int, device: torch.device) -> WorldModel:
    """The recipe's world model as it is before training, its BatchNorm statistics set on ``sample``.

    ``sample`` is uint8 (N, stack, H, W, C), observations of train episodes. Without real statistics an untrained
    network would be a needlessly low floor.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = WorldModel(recipe, spec).to(device)
    norms = [layer for layer in model.encoder.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average over the batches below
    model.encoder.train()
    with torch.no_grad():
        for part in torch.from_numpy(sample).split(128):
            model.encoder(stacked(part.to(device), recipe.observation.stack))
    return model.eval()


def encoder_of(model: WorldModel) -> Encoder:
    """A model's raw (not standardised) latents, as the judge's tables want them."""

    def encode(observations: np.ndarray) -> np.ndarray:
        return model.embed(torch.from_numpy(observations))[:, 0].float().cpu().numpy()

    return encode


def pca_width(space: LatentSpace) -> int:
    """Components of the PCA beside latents of ``space``: as many as their width, 128 beside grids."""
    return space.dim if space.grid is None else 128


class PCA:
    """Principal components of raw stacked pixels (or coordinates), by randomised SVD (Halko, Martinsson, Tropp 2011).

    Fitted on ``sample`` uint8 (N, stack, H, W, C); called, it maps (M, stack, H, W, C) to float32 (M, width).
    """

    def __init__(self, sample: np.ndarray, width: int, seed: int) -> None:
        pixels = self._flat(sample)
        self.mean = pixels.mean(0)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            _, _, self.components = torch.svd_lowrank(pixels - self.mean, q=min(width, *pixels.shape), niter=2)
        self.offset = self.mean @ self.components

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        projected: np.ndarray = (self._flat(observations) @ self.components - self.offset).numpy()
        return projected

    @staticmethod
    def _flat(observations: np.ndarray) -> Tensor:
        frames = torch.from_numpy(observations)
        return frames.flatten(1).float() / full_scale(frames)


def oracle_features(names: Sequence[str], states: np.ndarray) -> np.ndarray:
    """True states (N, S) as the oracle's latent, float32 (N, F): angles as sine and cosine, absolute place left out
    where the world also knows its body frame."""
    kept = [i for i, name in enumerate(names) if name not in NOT_IN_BODY_FRAME or "lateral_offset" not in names]
    return columns([names[i] for i in kept], states[:, kept]).astype(np.float32)


class Fitted:
    """A fitted ``Dynamics`` with energies, for latents that no encoder of the run made."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics

    def standardise(self, latents: np.ndarray) -> np.ndarray:
        """Raw latents (N, *latent_shape) to what ``rollout`` and ``energy`` take."""
        mean, std = self.dynamics.latent_mean.cpu().numpy(), self.dynamics.latent_std.cpu().numpy()
        return (latents - mean) / std

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        return self.dynamics.rollout(z, actions)

    def energy(self, z: Tensor, action: Tensor, proposal: Tensor, kind: Form) -> Tensor:
        return self.dynamics.energy(z, action, proposal, kind)


def fit(
    table: Embedded,
    latents: np.ndarray,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    space: LatentSpace | None = None,
) -> Fitted:
    """The recipe's predictor and variance head on a strided table's raw ``latents`` (rows, *shape) of ``space``.

    By default vectors of their width. The default predictor where the recipe's takes grids and these are vectors. The
    same fit as stage 2, for ``STEPS`` steps at most.
    """
    space = space or LatentSpace(latents.shape[1])
    z, actions = [], []
    for e, rows in enumerate(table.sampled):
        z.append(latents[table.start[e] + rows])
        taken = table.chunks(np.full(len(rows) - 1, e), rows[:-1], 1)[:, 0]
        actions.append(np.concatenate([taken, np.zeros_like(taken[:1])]))  # the last latent starts nothing
    flat = torch.from_numpy(np.concatenate(z)).to(device)
    chunks = torch.from_numpy(np.concatenate(actions)).to(device)
    section = recipe.prediction
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = section.predictor
        if options.part().takes_grid != (space.grid is not None):
            options = PredictorOptions.standard()
        predictor = make_predictor(options, space, chunks.shape[1])
        dynamics = Dynamics(predictor).to(device)
    # The table's rows are model steps already, so one row is one step.
    rows_as_steps = LatentTable(flat, chunks, tuple(len(part) for part in z), stride=1)
    with one_thread():
        fit_dynamics(dynamics, rows_as_steps, section, steps=min(STEPS, section.steps), seed=seed)
    return Fitted(dynamics.eval())
