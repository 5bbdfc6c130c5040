"""How fast the double pendulum's trajectories part, the unit of time for errors of forecasts."""

from __future__ import annotations

import numpy as np

from shared.worlds.double_pendulum.physics import GRAVITY, START, SUBSTEP, advance

NEIGHBOUR = 1e-7
"""Distance to which a neighbour is set back: far above rounding, far below the scale of the motion."""

BETWEEN = 40
"""Integrator steps between two renormalisations: 0.1 s, in which a distance grows by less than a factor of 10."""

UNITS = np.array([1.0, 1.0, GRAVITY**0.5, GRAVITY**0.5])[:, None]
"""What counts as 1 in a distance: 1 rad, and 1 rad per sqrt(l / g), which is 0.32 s."""


def lyapunov_exponents(starts: np.ndarray, seconds: float, settle: float = 5.0, seed: int = 0) -> np.ndarray:
    """Largest Lyapunov exponent along the free motion (no torque) from each start: float64 ``(N,)``, 1/s.

    The two-trajectory method of Benettin, Galgani and Strelcyn (Physical Review A 14, 1976) and of Benettin,
    Galgani, Giorgilli and Strelcyn (Meccanica 15, 1980): a neighbour at distance 1e-7 in a random direction
    (from ``seed``) is followed and set back to that distance, in the direction it has then, every 0.1 s. The
    exponent is the mean growth of the distance's logarithm per second, over ``seconds``, after ``settle`` seconds
    that turn the direction to the fastest one. For a finite time it is an estimate that depends on the start; on
    a regular orbit it falls to 0 no faster than ln(t) / t.

    ``starts``: ``(N, 4)``, theta1, theta2 (rad), omega1, omega2 (rad/s), as a store's state columns. Raises
    ``ValueError`` where ``seconds`` is below 0.1 or ``settle`` below 0.
    """
    rounds, skipped = (round(span / (BETWEEN * SUBSTEP)) for span in (seconds, settle))
    if rounds < 1 or skipped < 0:
        raise ValueError(f"lyapunov_exponents: {seconds} seconds after {settle}; give at least 0.1 after at least 0")
    here = np.asarray(starts, np.float64).T
    apart = np.random.default_rng(seed).standard_normal(here.shape)
    apart *= NEIGHBOUR / np.linalg.norm(apart, axis=0)
    growth = np.zeros(here.shape[1])
    for turn in range(skipped + rounds):
        pair = advance((*np.stack([here, here + apart * UNITS], axis=1),), BETWEEN, sin=np.sin, cos=np.cos)
        here, there = np.stack(pair, axis=1)
        apart = (there - here) / UNITS
        distance = np.linalg.norm(apart, axis=0)
        apart *= NEIGHBOUR / distance
        if turn >= skipped:
            growth += np.log(distance / NEIGHBOUR)
    return growth / (rounds * BETWEEN * SUBSTEP)


def lyapunov_time(seconds: float = 100.0, starts: int = 128, settle: float = 5.0, seed: int = 0) -> float:
    """Seconds in which a small error grows by e: 1 over the mean exponent of ``starts`` starts of the world.

    1.30 s by default; 1024 starts give 1.28 +- 0.03 s. The mean is over unlike motions: a quarter of the starts, of
    low energy, are regular (below 0.1 / s), the median is 0.9 / s and the upper quartile 1.3 / s. For the unit of one
    episode, give its own start to ``lyapunov_exponents``, which also says what raises ``ValueError``. The time is a
    pure function of the arguments.
    """
    drawn = np.random.default_rng(seed).uniform(-START, START, (starts, 4))
    return float(1 / lyapunov_exponents(drawn, seconds, settle, seed).mean())
