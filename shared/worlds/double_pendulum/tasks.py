"""The tasks of the double pendulum with torques."""

from __future__ import annotations

import math

import numpy as np

from shared.worlds.double_pendulum.physics import State, energy
from shared.worlds.tasks import Case, Reach

HANGING_SPREAD = 0.3
"""Starts hang down: angles within so much of it, rad."""

UPRIGHT = np.array([math.pi, math.pi, 0.0, 0.0])
"""State at the goal."""


class SwingUp(Reach):
    """From hanging to upright. Distance: the larger angle between a rod and upright, rad."""

    def case(self, rng: np.random.Generator, number: int) -> Case:
        angles = rng.uniform(-HANGING_SPREAD, HANGING_SPREAD, 2)
        return Case(
            int(rng.integers(2**31)), {"state": (*angles.tolist(), 0.0, 0.0)}, {"state": (math.pi, math.pi, 0, 0)}
        )

    def distance(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        off = states[:, :2] - goal[:2]
        return np.abs(np.remainder(off + np.pi, 2 * np.pi) - np.pi).max(1)

    def remaining(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Energy that is lacking or too much (in J, a tenth of it), and how far the rods are from upright and from rest
        once the energy is there."""
        lacking = np.abs(energy((*states.T,)) - energy((*goal.astype(np.float64),)))
        off = np.remainder(states[:, :2] - goal[:2] + np.pi, 2 * np.pi) - np.pi
        return 0.1 * lacking + np.square(off).sum(1) + 0.02 * np.square(states[:, 2:]).sum(1)


def earned(state: State) -> float:
    """Reward of a moment of the world with torques: -log(1 + ``SwingUp.remaining``), 0 at rest and upright, -3.3
    hanging. The logarithm gives the little that is left near the top its weight."""
    return -math.log1p(float(TASKS["swing-up"].remaining(np.array([state], np.float64), UPRIGHT)[0]))


TASKS: dict[str, SwingUp] = {
    "swing-up": SwingUp(
        "from hanging down, both rods upright within 0.3 rad for 1 s", 300, 20, radii=(0.3,), unit="rad", hold=20
    )
}
