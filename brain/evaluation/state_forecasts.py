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
from brain.evaluation.rollouts import Rollouts, roll_out
from brain.evaluation.samples import Samples


def state_forecasts(
    samples: Samples, states: States, probe: LinearProbe, rollouts: Rollouts, dynamics: Fitted, oracle: Fitted | None,
    device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    """Root mean squared errors in the states' units: ``steps``, ``starts`` and ``states.<name>.<forecaster>``, a value
    for each of ``steps``; angles in radians.

    ``samples`` must be embedded, and ``rollouts`` be those of the model's ``dynamics``. Where the world declares
    typical rows, forecasts count where both their start and their end are typical. The state oracle has no value for
    absolute states.
    """
    table, stride = samples.test, samples.test.timing.stride
    later = rollouts.row >= table.timing.history + stride
    episode, row = rollouts.episode[later], rollouts.row[later]
    if not len(row):
        return {"steps": [], "starts": 0, "states": {}}

    def state(rows: np.ndarray) -> np.ndarray:
        return table.state[table.index(episode, rows)].astype(np.float64)

    def read(raw: np.ndarray) -> np.ndarray:
        return probe.predict(raw if raw.ndim == 2 else samples.space.features(raw))

    current = state(row)
    velocity = current - state(row - stride)
    for name in set(states.angles) & set(states.names):
        i = states.names.index(name)
        velocity[:, i] = np.arctan2(np.sin(velocity[:, i]), np.cos(velocity[:, i]))
    told = {}
    if oracle is not None:
        chunks = table.chunks(episode, row, rollouts.steps[-1])
        told = _oracle(oracle, states, current, chunks, rollouts.steps, device)
    typical = states.typical(current)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in states.names}
    for k, future in rollouts.futures.items():
        truth = state(row + k * stride)
        ends = states.typical(truth)
        kept = np.ones(len(row), bool) if typical is None or ends is None else typical & ends
        guesses: Mapping[str, np.ndarray] = {
            "model": read(dynamics.raw(future[later])),
            "probe": read(table.latents["model"][table.place(episode, row + k * stride)]),
            "persistence": states.columns(current),
            "constant-velocity": states.columns(current + k * velocity),
        } | ({"state-oracle": told[k]} if told else {})
        for forecaster, columns in guesses.items():
            scores = score_columns(states, truth[kept], columns[kept]) if kept.any() else {}
            for name in states.names:
                value = scores[name].rmse if name in scores else float("nan")
                found[name].setdefault(forecaster, []).append(value)
    return {
        "steps": rollouts.steps,
        "starts": len(row) if typical is None else int(typical.sum()),
        "states": found,
    }


def _oracle(
    oracle: Fitted, states: States, current: np.ndarray, chunks: np.ndarray, steps: list[int], device: torch.device
) -> dict[int, np.ndarray]:
    """Columns (N, S') of the state oracle's rollouts, NaN for absolute states."""
    known = np.array([states.names[i] not in states.absolute for i in states.owner])
    start = oracle.standardise(oracle_features(states, current))
    result = {}
    for k, future in roll_out(oracle, start, chunks, steps, device).items():
        result[k] = np.full((len(current), len(known)), np.nan)
        result[k][:, known] = oracle.raw(future)
    return result
