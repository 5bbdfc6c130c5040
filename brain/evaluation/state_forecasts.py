"""Forecasts in the world's own units: states read off rolled-out latents, beside what needs no model.

A linear probe, fitted on latents of observations, reads a latent that was rolled out from one observation and the
actions. Baselines know the true state at the start: *persistence* keeps it, *constant velocity* goes on as in the model
step before. *State oracle* is the recipe's predictor fitted to true states; *probe* reads the true future observation,
which bounds what the probe can read off a perfect forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from brain.data.states import States
from brain.evaluation.baselines import Fitted, oracle_features
from brain.evaluation.probes import LinearProbe, score_columns
from brain.evaluation.rollouts import rollout_starts
from brain.evaluation.samples import Samples

BATCH = 256
"""Latents rolled out at once."""


@torch.no_grad()
def state_forecasts(
    samples: Samples, states: States, dynamics: Fitted, oracle: Fitted | None, count: int, seed: int,
    device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    """Root mean squared errors in the states' units: ``steps``, ``starts`` and ``states.<name>.<forecaster>``, a value
    for each of ``steps``; angles in radians.

    ``samples`` must be embedded. Where the world declares typical rows, probes are fitted to these, and forecasts count
    where both their start and their end are typical. The state oracle has no value for absolute states.
    """
    table, stride = samples.test, samples.test.timing.stride
    steps, episode, row = rollout_starts(table, count, seed)
    later = row >= table.timing.history + stride
    episode, row = episode[later], row[later]
    rows = {split: _typical(states, samples.rows(split, "model")) for split in ("train", "validation")}
    if not steps or not len(row) or min(len(each.states) for each in rows.values()) < 2:
        return {"steps": [], "starts": 0, "states": {}}
    probe = LinearProbe(states, rows["train"], rows["validation"])
    latents = table.latents["model"]
    chunks = table.chunks(episode, row, steps[-1])

    def read(raw: np.ndarray) -> np.ndarray:
        return probe.predict(samples.space.features(raw) if raw.ndim > 2 else raw)

    start = latents[table.place(episode, row)]
    imagined = _rollout(dynamics, start, chunks, steps, device)
    current = table.state[table.index(episode, row)].astype(np.float64)
    before = table.state[table.index(episode, row - stride)].astype(np.float64)
    velocity = current - before
    for name in states.angles:
        if name in states.names:
            i = states.names.index(name)
            velocity[:, i] = np.arctan2(np.sin(velocity[:, i]), np.cos(velocity[:, i]))
    told = _oracle(oracle, states, current, chunks, steps, device) if oracle is not None else {}
    typical = states.typical(current)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in states.names}
    starts = len(row) if typical is None else int(typical.sum())
    for k in steps:
        truth = table.state[table.index(episode, row + k * stride)]
        kept = np.ones(len(row), bool) if typical is None else typical & _mask(states, truth)
        guesses: Mapping[str, np.ndarray] = {
            "model": read(imagined[k]),
            "probe": read(latents[table.place(episode, row + k * stride)]),
            "persistence": states.columns(current),
            "constant-velocity": states.columns(current + k * velocity),
        } | ({"state-oracle": told[k]} if told else {})
        for forecaster, columns in guesses.items():
            scores = score_columns(states, truth[kept], columns[kept]) if kept.any() else {}
            for name in states.names:
                value = scores[name].rmse if name in scores else float("nan")
                found[name].setdefault(forecaster, []).append(value)
    return {"steps": steps, "starts": starts, "states": found}


def _rollout(
    fitted: Fitted, start: np.ndarray, chunks: np.ndarray, steps: list[int], device: torch.device
) -> dict[int, np.ndarray]:
    """Raw latents (N, *shape) after each of ``steps``, from raw ones."""
    parts: dict[int, list[np.ndarray]] = {k: [] for k in steps}
    for first in range(0, len(start), BATCH):
        z = torch.from_numpy(fitted.standardise(start[first : first + BATCH]).astype(np.float32)).to(device)
        actions = torch.from_numpy(np.ascontiguousarray(chunks[first : first + BATCH])).to(device)
        future = fitted.rollout(z, actions).float().cpu().numpy()
        for k in steps:
            parts[k].append(fitted.raw(future[:, k - 1]))
    return {k: np.concatenate(part) for k, part in parts.items()}


def _oracle(
    oracle: Fitted, states: States, current: np.ndarray, chunks: np.ndarray, steps: list[int], device: torch.device
) -> dict[int, np.ndarray]:
    """Columns (N, S') of the state oracle's rollouts, NaN for absolute states."""
    owner = states.owner
    kept = np.array([states.names[i] not in states.absolute for i in owner])
    futures = _rollout(oracle, oracle_features(states, current), chunks, steps, device)
    result = {}
    for k, future in futures.items():
        columns = np.full((len(current), len(owner)), np.nan)
        columns[:, kept] = future
        result[k] = columns
    return result


def _typical(states: States, rows: Any) -> Any:
    return rows if states.subset is None else rows.where(_mask(states, rows.states))


def _mask(states: States, values: np.ndarray) -> np.ndarray:
    mask = states.typical(values)
    assert mask is not None
    return mask
