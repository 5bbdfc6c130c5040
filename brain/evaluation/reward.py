"""Probes of a model step's reward on frozen latents, with baselines and an upper bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from brain.data.sampling import spread
from brain.data.states import States
from brain.device import seeded
from brain.evaluation.metrics import r2
from brain.evaluation.probes import Score
from brain.evaluation.samples import SPLITS, Samples
from brain.models.latents import LatentTable
from brain.models.reward_head import RewardHead
from brain.models.world_model import WorldModel
from brain.training import regression
from shared.store.schema import Split

SAMPLES: dict[Split, int] = {"train": 4000, "validation": 1000, "test": 2000}
"""Maximum number of model steps per split, evenly spread over the samples."""
BATCH = 256


@dataclass(frozen=True)
class Steps:
    """Model steps of a table, N of them."""

    rows: np.ndarray
    """int64 (N,): flat rows at which they begin"""
    chunks: np.ndarray
    """float32 (N, stride * A): the actions"""
    rewards: np.ndarray
    """float32 (N,): their rewards"""

    @classmethod
    def of(cls, table: LatentTable, count: int) -> Steps:
        """``count`` of the table's transitions at most, evenly spread. The table must be filled from the store."""
        rows = table.transitions()
        rows = rows[spread(len(rows), count)]
        chunks = table.timing.chunks(table.action, rows)[:, 0]
        return cls(rows, chunks, table.reward[table.timing.taken(rows)].sum(1))


def probe_reward(
    model: WorldModel, states: States, samples: Samples, steps: int, seed: int, say: Callable[[str], None]
) -> tuple[dict[str, Score], RewardHead] | None:
    """A head on the model's latents, and test scores by what a head reads; None where the reward does not vary.

    ``samples`` must be embedded by ``representations``. Baselines beside ``model``: ``actions`` alone,
    ``random-encoder``, ``pca`` (of the latent's width), ``mean``. Upper bound: the true ``state``. Fitted on train
    episodes for ``steps`` optimiser steps, chosen on validation episodes.
    """
    taken = {split: Steps.of(samples.tables[split], SAMPLES[split]) for split in SPLITS}
    if any(len(found.rewards) == 0 or found.rewards.std() < 1e-6 for found in taken.values()):
        return None
    scores, heads = {}, {}
    for space in ("model", "actions", "random-encoder", "pca", "state"):
        say(f"reading rewards from {space}")
        features = {split: _features(model, states, samples.tables[split], taken[split], space) for split in SPLITS}
        heads[space] = fit_head(features, taken, steps, seed)
        inputs = [torch.from_numpy(features["test"]), torch.from_numpy(taken["test"].chunks)]
        scores[space] = _score(regression.predict(heads[space], inputs).numpy(), taken["test"].rewards)
    mean = np.full_like(taken["test"].rewards, taken["train"].rewards.mean())
    scores["mean"] = _score(mean, taken["test"].rewards)
    order = ("model", "mean", "actions", "random-encoder", "pca", "state")
    return {space: scores[space] for space in order}, heads["model"]


def fit_head(features: dict[Split, np.ndarray], taken: dict[Split, Steps], steps: int, seed: int) -> RewardHead:
    """A head on features (N, *shape) of model steps: the weights that were best on validation episodes."""
    splits = {
        split: ([torch.from_numpy(features[split]), torch.from_numpy(found.chunks)], torch.from_numpy(found.rewards))
        for split, found in taken.items()
    }
    (z, chunks), rewards = splits["train"]
    with seeded(seed):
        head = RewardHead(z[0].numel(), chunks.shape[1])
    head.fit_scale(z, chunks, rewards)
    regression.fit(head, splits["train"], splits["validation"], steps=steps, batch=BATCH, seed=seed)
    return head


def _features(model: WorldModel, states: States, table: LatentTable, taken: Steps, space: str) -> np.ndarray:
    """What a head reads of the beginnings of model steps, float32 (N, *shape)."""
    if space == "state":
        return states.columns(table.state[taken.rows]).astype(np.float32)
    if space == "actions":
        return np.zeros((len(taken.rows), 0), np.float32)
    latents = table.latents[space][table.at(taken.rows)]
    if space == "model":
        latents = model.dynamics.standardise(torch.from_numpy(latents).to(model.device)).cpu().numpy()
    return latents


def _score(guess: np.ndarray, truth: np.ndarray) -> Score:
    return Score(r2(truth, guess), float(np.sqrt(np.mean((guess - truth) ** 2))))
