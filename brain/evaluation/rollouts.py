"""Latent rollouts over test episodes, made once, and their errors by horizon beside persistence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from brain.device import at_once
from brain.evaluation.baselines import Fitted
from brain.models.latents import LatentTable

HORIZONS = (1, 2, 4, 8, 16)
"""Model steps."""


@dataclass(frozen=True)
class Rollouts:
    """Forecasts from N observations under the actions taken."""

    steps: list[int]
    """horizons; empty where no episode holds a model step, and then so is all else"""
    episode: np.ndarray
    """int64 (N,)"""
    row: np.ndarray
    """int64 (N,): with ``episode`` the address of each start"""
    futures: dict[int, np.ndarray]
    """standardised latents (N, *shape) after each of ``steps``"""


def draw_rollouts(
    dynamics: Fitted, table: LatentTable, latents: np.ndarray, count: int, seed: int, device: torch.device
) -> Rollouts:
    """Rollouts of at most about ``count`` starts, evenly split over the episodes that are long enough.

    ``latents`` (M, *shape), standardised, are those of the table's observations. Horizons longer than any episode are
    left out.
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
        return Rollouts([], np.zeros(0, np.int64), np.zeros(0, np.int64), {})
    episode = np.concatenate([np.full(len(rows), e) for e, rows in picks])
    row = np.concatenate([rows for _, rows in picks])
    start, chunks = latents[table.place(episode, row)], table.chunks(episode, row, steps[-1])
    return Rollouts(steps, episode, row, roll_out(dynamics, start, chunks, steps, device))


@torch.no_grad()
def roll_out(
    dynamics: Fitted, start: np.ndarray, chunks: np.ndarray, steps: Sequence[int], device: torch.device
) -> dict[int, np.ndarray]:
    """Standardised latents (N, *shape) under actions (N, K, stride * A), after each of ``steps``, at most K."""
    parts: dict[int, list[np.ndarray]] = {k: [] for k in steps}
    batch = at_once(device)
    for first in range(0, len(start), batch):
        z, actions = (
            torch.from_numpy(np.ascontiguousarray(values[first : first + batch], np.float32)).to(device)
            for values in (start, chunks)
        )
        future = dynamics.rollout(z, actions).float().cpu().numpy()
        for k in steps:
            parts[k].append(future[:, k - 1])
    return {k: np.concatenate(part) for k, part in parts.items()}


def rollout_errors(rollouts: Rollouts, table: LatentTable, latents: np.ndarray) -> dict[str, list[float]]:
    """Normalised mean squared error of forecasts: ``steps``, ``model``, ``persistence``, ``starts`` (how many).

    Error divided by the latents' variance, so that forecasting their mean gives 1. *Persistence* forecasts the current
    latent.
    """
    if not rollouts.steps:
        return {"steps": [], "model": [], "persistence": [], "starts": [0]}
    start = latents[table.place(rollouts.episode, rollouts.row)]
    variance = float(latents.var(axis=0, dtype=np.float64).mean()) or 1.0
    model, persistence = [], []
    for k, forecast in rollouts.futures.items():
        later = rollouts.row + k * table.timing.stride
        truth = latents[table.place(rollouts.episode, later)].astype(np.float64)
        model.append(float(np.square(forecast - truth).mean()) / variance)
        persistence.append(float(np.square(start - truth).mean()) / variance)
    return {
        "steps": [float(k) for k in rollouts.steps],
        "model": model,
        "persistence": persistence,
        "starts": [len(rollouts.row)],
    }
