"""Linear probes: how much of the world's true state is linear in a latent.

Ridge regression in closed form, fitted on train episodes, its penalty chosen on validation episodes, scored on test
episodes (Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes"). ``brain judge``
and ``brain probe`` both use this one, on the same samples, so that ``judge.json`` and ``probe.json`` agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from brain.data.states import States
from brain.evaluation.metrics import r2

PENALTIES = tuple(10.0**power for power in range(-4, 5))
"""Ridge penalties tried, per training row."""

LEAST_SCALE = 1e-2
"""Smallest standard deviation scaled to 1, as a share of the largest."""


@dataclass(frozen=True)
class Rows:
    """One split's rows for probing: features float (N, D) and states float (N, S) at the same observations."""

    features: np.ndarray
    states: np.ndarray

    def where(self, mask: np.ndarray) -> Rows:
        return Rows(self.features[mask], self.states[mask])


def typical(states: States, rows: Rows) -> Rows:
    """The rows that the world calls typical; all of them where it names none."""
    mask = states.typical(rows.states)
    return rows if mask is None else rows.where(mask)


@dataclass(frozen=True)
class Score:
    """Test scores of one probe for one state."""

    r2: float
    """1 is perfect, 0 no better than the mean; of an angle, the mean over its sine and cosine; NaN where the state does
    not vary"""
    rmse: float
    """in the state's own unit; of an angle, in radians"""


class LinearProbe:
    """A linear probe for all states; each state's penalty is the one with the best R2 on validation rows."""

    def __init__(self, states: States, train: Rows, validation: Rows) -> None:
        self._fit = Ridge(train.features, states.columns(train.states), PENALTIES)
        owner, wanted = states.owner, states.columns(validation.states)

        def on_validation(guesses: np.ndarray) -> np.ndarray:
            """R2 by state, (S,), of guesses (N, S')."""
            each = np.array([r2(wanted[:, j], guesses[:, j]) for j in range(len(owner))])
            return np.array([each[owner == i].mean() for i in range(len(states.names))])

        tried = np.stack([on_validation(guesses) for guesses in self._fit.predict(validation.features)])
        best = np.nan_to_num(tried, nan=-np.inf).argmax(axis=0)
        self._fit.choose(best[owner])

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(N, D) to columns (N, S') as ``states.columns`` gives them."""
        return self._fit.predict(features)[0]


def linear_probe(states: States, train: Rows, validation: Rows, test: Rows) -> dict[str, Score]:
    """Test scores of a ``LinearProbe`` by state."""
    return score_columns(states, test.states, LinearProbe(states, train, validation).predict(test.features))


def score_columns(states: States, truth: np.ndarray, guesses: np.ndarray) -> dict[str, Score]:
    """Scores by state of ``guesses`` (N, S'), columns as ``states.columns`` gives them, of the states ``truth`` (N, S).

    A guess of one row (1, S') counts for all.
    """
    wanted, owner = states.columns(truth), states.owner
    guesses = np.broadcast_to(guesses, wanted.shape)
    scores = {}
    for i, name in enumerate(states.names):
        own = np.flatnonzero(owner == i)
        error = guesses[:, own] - wanted[:, own]
        if len(own) == 2:
            turned = np.arctan2(guesses[:, own[0]], guesses[:, own[1]]) - truth[:, i]
            error = np.arctan2(np.sin(turned), np.cos(turned))
        fitted = float(np.mean([r2(wanted[:, j], guesses[:, j]) for j in own]))
        scores[name] = Score(fitted, float(np.sqrt(np.mean(error**2))))
    return scores


class Ridge:
    """Ridge regression for several penalties; features are standardised on ``x``.

    Features that hardly vary on ``x`` (below ``LEAST_SCALE`` of the one that varies most: a pixel that a thing touched
    once) are not scaled up to 1: on other rows they could outweigh all others. ``x`` is (N, D), ``y`` (N, T).
    Minimises mean squared error + penalty x |w|^2, with an unpenalised intercept: a Cholesky decomposition for each of
    P penalties > 0, a third of what one eigendecomposition for all takes with thousands of features.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> None:
        self.centre = x.mean(axis=0, dtype=np.float64)
        scale = x.std(axis=0, dtype=np.float64)
        self.scale = np.maximum(scale, max(LEAST_SCALE * scale.max(), 1e-8))
        self.mean = y.mean(axis=0)
        features = self._standardise(x)
        gram, products = features.T @ features / len(x), features.T @ (y - self.mean) / len(x)
        diagonal, found = gram.diagonal().copy(), []
        for penalty in penalties:
            np.fill_diagonal(gram, diagonal + penalty)
            found.append(cho_solve(cho_factor(gram, check_finite=False), products, check_finite=False))
        self.weights = np.stack(found)
        """float64 (P, D, T)"""

    def choose(self, best: np.ndarray) -> None:
        """Keep one penalty for each column: int64 (T,), which of the P."""
        self.weights = self.weights[best, :, np.arange(len(best))].T[None]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(M, D) to (P, M, T)."""
        penalties, width, columns = self.weights.shape
        flat = self._standardise(x) @ self.weights.swapaxes(0, 1).reshape(width, penalties * columns)
        return flat.reshape(len(x), penalties, columns).swapaxes(0, 1) + self.mean

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        standardised = x.astype(np.float64)
        standardised -= self.centre
        standardised /= self.scale
        return standardised
