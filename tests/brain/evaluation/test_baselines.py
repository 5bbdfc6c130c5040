"""What a recipe sets for its own predictor does not make its baselines weak."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from brain import recipes
from brain.data.windows import Timing
from brain.evaluation.baselines import STEPS, fit
from brain.models.latents import LatentTable
from brain.models.untrained import random_encoder
from shared.store.schema import EpisodeRef, StoreSpec
from tests.support.dots import RUN

ROWS = 400


@pytest.mark.parametrize("name", ["car-racing", "car-racing-grid-vector", "bouncing-logo-ema"])
@pytest.mark.parametrize("pushforward", [False, True])
def test_the_upper_bound_learns_a_rotation(name: str, pushforward: bool) -> None:
    """The state turns by half a radian in every model step, whatever is done."""
    given = ["prediction.pushforward=4", "prediction.learning_rate=1e-6", "prediction.batch=2", "prediction.steps=1"]
    recipe = recipes.load(name, given)
    assert recipe.prediction.steps < STEPS
    timing = Timing.of(recipe.observation)
    spec = StoreSpec(world="made-up", frame_shape=(64, 64, 3), action_dim=2, control_rate=10.0, state_names=("x", "y"))
    refs = [EpisodeRef(RUN, k, k, "none", "s", k * ROWS, ROWS, False, True, "train") for k in range(2)]
    table = LatentTable(spec, refs, timing, [np.arange(timing.history, ROWS) for _ in refs])
    rng = np.random.default_rng(0)
    table.action[:] = rng.standard_normal(table.action.shape)
    angle = np.concatenate([rng.uniform(0, 6) + 0.5 / timing.stride * rows for rows in table.sampled])
    latents = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    fitted = fit(table, latents, recipe, 0, torch.device("cpu"), pushforward=pushforward)
    windows = table.windows(latents, torch.device("cpu"))
    z, actions = windows.windows(windows.starts(1), 1)
    now, then = (fitted.dynamics.standardise(z[:, k]) for k in range(2))
    with torch.no_grad():
        error = float((fitted.rollout(now, actions)[:, 0] - then).square().mean())
    assert error < 0.1 * float((now - then).square().mean())


def test_episodes_too_short_for_forecasts_are_learned_from_alone() -> None:
    recipe = recipes.load("car-racing", ["prediction.pushforward=12"])
    timing, rows = Timing.of(recipe.observation), 20
    assert rows < timing.rows(recipe.prediction.span)
    spec = StoreSpec(world="made-up", frame_shape=(64, 64, 3), action_dim=2, control_rate=10.0, state_names=("x", "y"))
    refs = [EpisodeRef(RUN, k, k, "none", "s", k * rows, rows, False, True, "train") for k in range(2)]
    table = LatentTable(spec, refs, timing, [np.arange(timing.history, rows) for _ in refs])
    latents = np.random.default_rng(0).normal(size=(sum(map(len, table.sampled)), 3)).astype(np.float32)
    told: list[float] = []
    fit(table, latents, recipe, 0, torch.device("cpu"), steps=2, pushforward=True, tell=told.append)
    assert told == [0.5, 1.0]


@pytest.mark.parametrize("count", [128, 129, 257])
def test_an_untrained_encoder_takes_any_number_of_observations(count: int) -> None:
    """BatchNorm has no statistics of one."""
    recipe = recipes.load("lewm", ["encoder.width=16", "encoder.dim=8"])
    spec = StoreSpec(world="made-up", frame_shape=(64, 64, 3), action_dim=2, control_rate=10.0, state_names=("x", "y"))
    sample = np.random.default_rng(0).integers(0, 255, (count, recipe.observation.stack, 64, 64, 3), np.uint8)
    model = random_encoder(recipe, spec, sample, 0, torch.device("cpu"))
    norms = [layer for layer in model.encoder.modules() if isinstance(layer, torch.nn.BatchNorm1d)]
    assert norms and all(int(layer.num_batches_tracked) == -(-count // 128) for layer in norms)
