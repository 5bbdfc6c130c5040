"""What a recipe sets for its own predictor does not make its baselines weak."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from brain import recipes
from brain.data.windows import Timing
from brain.evaluation.baselines import STEPS, fit
from brain.models.latents import LatentTable
from shared.store.schema import EpisodeRef, StoreSpec
from tests.support.dots import RUN

ROWS = 400


@pytest.mark.parametrize("name", ["car-racing", "car-racing-grid-vector", "bouncing-logo-ema"])
def test_the_upper_bound_learns_a_rotation(name: str) -> None:
    """The state turns by half a radian in every model step, whatever is done."""
    given = ["prediction.learning_rate=1e-6", "prediction.batch=2", "prediction.steps=1"]
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
    fitted = fit(table, latents, recipe, 0, torch.device("cpu"))
    windows = table.windows(latents, torch.device("cpu"))
    z, actions = windows.windows(windows.starts(1), 1)
    now, then = (fitted.dynamics.standardise(z[:, k]) for k in range(2))
    with torch.no_grad():
        error = float((fitted.rollout(now, actions)[:, 0] - then).square().mean())
    assert error < 0.1 * float((now - then).square().mean())
