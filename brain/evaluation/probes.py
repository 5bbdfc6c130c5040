"""Linear probes: how much of the world's true state can be read off a latent by a straight line.

Ridge regression in closed form, fitted on train episodes, its penalty chosen on validation episodes, scored on test
episodes (Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brain.data.states import columns, targets
from brain.evaluation.metrics import r2

PENALTIES = tuple(10.0**power for power in range(-4, 5))
"""Ridge penalties tried, per training row."""

LEAST_SCALE = 1e-2
"""Smallest standard deviation that is brought to 1, as a share of the largest."""

HALF_ROAD = 40 / 6
"""Half the width of CarRacing's road, m."""


@dataclass(frozen=True)
class Rows:
    """One split's rows for probing: latents float (N, D) and states float (N, S) at the same observations."""

    latents: np.ndarray
    states: np.ndarray

    def where(self, mask: np.ndarray) -> Rows:
        return Rows(self.latents[mask], self.states[mask])


def driving(names: Sequence[str], states: np.ndarray) -> np.ndarray | None:
    """Mask (N,) of the rows on the road and facing along it; None in a world without a road.

    Facing backwards, the offset to the centre line has the other sign than in the picture, and no picture shows
    which way the track runs: such rows (a spun car) would hide what a latent knows about its place on the road.
    """
    if "lateral_offset" not in names or "heading_error" not in names:
        return None
    offset, heading = (states[:, list(names).index(name)] for name in ("lateral_offset", "heading_error"))
    return (np.abs(offset) < HALF_ROAD) & (np.cos(heading) > 0)


def probe(names: Sequence[str], train: Rows, validation: Rows, test: Rows) -> dict[str, float]:
    """Test R2 of a linear probe of every named state; NaN where a state does not vary on the test rows."""
    owner = np.repeat(np.arange(len(names)), [targets(name, np.zeros(1)).shape[1] for name in names])
    fit = Ridge(train.latents, columns(names, train.states))

    def score(rows: Rows, penalty: float) -> np.ndarray:
        predicted = fit.predict(rows.latents, penalty)
        flat = columns(names, rows.states)
        each = np.array([r2(flat[:, j], predicted[:, j]) for j in range(flat.shape[1])])
        return np.array([each[owner == i].mean() for i in range(len(names))])

    on_validation = np.stack([score(validation, penalty) for penalty in PENALTIES])
    best = np.nan_to_num(on_validation, nan=-np.inf).argmax(axis=0)
    on_test = np.stack([score(test, PENALTIES[p]) for p in range(len(PENALTIES))])
    return {name: float(on_test[best[i], i]) for i, name in enumerate(names)}


class Ridge:
    """Ridge regression for many penalties from one eigendecomposition; features are standardised on ``x``.

    Features that hardly vary on ``x`` (below ``LEAST_SCALE`` of the one that varies most: a pixel that a thing touched
    once) are not scaled up to 1: on other rows they could outweigh all others. ``x`` is (N, D), ``y`` (N, T).
    Minimises mean squared error + penalty x |w|^2, with an unpenalised intercept.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.centre = x.mean(axis=0, dtype=np.float64)
        scale = x.std(axis=0, dtype=np.float64)
        self.scale = np.maximum(scale, max(LEAST_SCALE * scale.max(), 1e-8))
        self.mean = y.mean(axis=0)
        features = self._standardise(x)
        self.eigenvalues, self.vectors = np.linalg.eigh(features.T @ features / len(x))
        self.projected = self.vectors.T @ (features.T @ (y - self.mean)) / len(x)

    def predict(self, x: np.ndarray, penalty: float) -> np.ndarray:
        """(M, D) to (M, T)."""
        shrunk = self.projected / (np.maximum(self.eigenvalues, 0.0) + penalty)[:, None]
        return self._standardise(x) @ (self.vectors @ shrunk) + self.mean

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        return (x.astype(np.float64) - self.centre) / self.scale
