"""Dead reckoning: where a car gets to by its speeds alone, to draw what an agent imagines."""

from __future__ import annotations

import numpy as np


def dead_reckoning(
    forward: np.ndarray, left: np.ndarray, turning: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Speeds in units/s and turning to the left in rad/s, (N, T) each, moments that many seconds apart, to the places
    to the right of the first moment's car and ahead of it, in units: (N, T) each."""
    heading = _summed(turning, seconds)
    sin, cos = np.sin(heading), np.cos(heading)
    return -_summed(forward * sin + left * cos, seconds), _summed(forward * cos - left * sin, seconds)


def _summed(rates: np.ndarray, seconds: float) -> np.ndarray:
    """The integral of rates (N, T), ``seconds`` apart, from the first on, by trapezoids: (N, T)."""
    steps = np.cumsum((rates[:, 1:] + rates[:, :-1]) * (seconds / 2), 1)
    return np.concatenate([np.zeros_like(steps[:, :1]), steps], 1) if steps.size else np.zeros_like(rates)
