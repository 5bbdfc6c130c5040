"""Errors of latent rollouts by horizon, beside persistence."""

from __future__ import annotations

import numpy as np
import torch

from brain.evaluation.energies import Dynamics
from brain.models.latents import LatentTable

HORIZONS = (1, 2, 4, 8, 16)
"""Model steps."""


def rollout_starts(table: LatentTable, count: int, seed: int) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Horizons, and the addresses (episode, row), (N,) each, of forecasts up to the longest.

    At most about ``count`` starts, evenly split over the episodes that are long enough; horizons longer than any
    episode are left out. All empty where no episode holds a model step.
    """
    stride, history = table.timing.stride, table.timing.history
    steps = [k for k in HORIZONS if (table.rows > history + k * stride).any()]
    reach = steps[-1] * stride if steps else 0
    rng = np.random.default_rng([seed, *b"rollouts"])
    able = np.flatnonzero(table.rows > history + reach)
    picks = [
        (e, rng.choice(free, min(len(free), -(-count // len(able))), replace=False))
        for e in able
        if (free := np.arange(history, table.rows[e] - reach)).size
    ]
    if not steps or not picks:
        return [], np.zeros(0, np.int64), np.zeros(0, np.int64)
    return steps, np.concatenate([np.full(len(rows), e) for e, rows in picks]), np.concatenate([r for _, r in picks])


@torch.no_grad()
def rollout_errors(
    dynamics: Dynamics, table: LatentTable, latents: np.ndarray, count: int, seed: int, device: torch.device
) -> dict[str, list[float]]:
    """Normalised mean squared error of forecasts: ``steps``, ``model``, ``persistence``, ``starts`` (how many).

    ``latents`` (M, *shape) are those of the table's observations. Error divided by their variance, so that forecasting
    their mean gives 1. *Persistence* forecasts the current latent. Starts are those of ``rollout_starts``.
    """
    steps, episode, row = rollout_starts(table, count, seed)
    if not steps:
        return {"steps": [], "model": [], "persistence": [], "starts": [0]}
    stride = table.timing.stride
    start = latents[table.place(episode, row)]
    chunks = torch.from_numpy(table.chunks(episode, row, steps[-1])).to(device)
    forecast = dynamics.rollout(torch.from_numpy(start).to(device), chunks).float().cpu().numpy()
    variance = float(latents.var(axis=0, dtype=np.float64).mean()) or 1.0
    model, persistence = [], []
    for k in steps:
        truth = latents[table.place(episode, row + k * stride)].astype(np.float64)
        model.append(float(np.square(forecast[:, k - 1] - truth).mean()) / variance)
        persistence.append(float(np.square(start - truth).mean()) / variance)
    return {
        "steps": [float(k) for k in steps],
        "model": model,
        "persistence": persistence,
        "starts": [len(row)],
    }
