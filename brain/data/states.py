"""A world's true state as numbers that a network can take: an angle becomes its sine and cosine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ANGLES = ("angle", "heading", "heading_error", "theta1", "theta2")
"""States on a circle, rad: seen and probed as sine and cosine, scored by the mean R2 of the two."""


def targets(name: str, values: np.ndarray) -> np.ndarray:
    """What a probe regresses for one state (N,): (N, 1), or sine and cosine (N, 2) for an angle in rad."""
    if name in ANGLES:
        return np.stack([np.sin(values), np.cos(values)], axis=1)
    return values[:, None]


def columns(names: Sequence[str], states: np.ndarray) -> np.ndarray:
    """All states (N, S), S > 0: float64 (N, S'), an angle as sine and cosine."""
    return np.concatenate([targets(name, states[:, i].astype(np.float64)) for i, name in enumerate(names)], 1)
