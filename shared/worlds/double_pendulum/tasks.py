"""The tasks of the double pendulum with torques."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.worlds.double_pendulum.physics import PLAIN, Bodies, State, energy
from shared.worlds.tasks import Case, Reach

if TYPE_CHECKING:
    from shared.worlds.double_pendulum.world import DoublePendulum

HANGING_SPREAD = 0.3
"""Starts hang down: angles within so much of it, rad."""

UPRIGHT = np.array([math.pi, math.pi, 0.0, 0.0])
"""State at the goal."""


class SwingUp(Reach):
    """From hanging to upright. Distance: the larger angle between a rod and upright, rad."""

    _world: DoublePendulum | None = None

    def of(self, world: Any) -> SwingUp:
        bound = copy.copy(self)
        bound._world = world
        return bound

    def case(self, rng: np.random.Generator, number: int) -> Case:
        angles = rng.uniform(-HANGING_SPREAD, HANGING_SPREAD, 2)
        return Case(
            int(rng.integers(2**31)), {"state": (*angles.tolist(), 0.0, 0.0)}, {"state": (math.pi, math.pi, 0, 0)}
        )

    def distance(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        off = states[:, :2] - goal[:2]
        return np.abs(np.remainder(off + np.pi, 2 * np.pi) - np.pi).max(1)

    def remaining(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """``lacking`` with the masses, lengths and gravity of its world."""
        return lacking(states, goal, PLAIN if self._world is None else self._world.bodies)


def lacking(states: np.ndarray, goal: np.ndarray, of: Bodies) -> np.ndarray:
    """What states (N, 4) lack of the goal's (4,), float64 (N,): energy, or too much of it (a tenth of it, J), and how
    far the rods are from upright and from rest once the energy is there."""
    missing = np.abs(energy((*states.T,), of) - energy((*goal.astype(np.float64),), of))
    off = np.remainder(states[:, :2] - goal[:2] + np.pi, 2 * np.pi) - np.pi
    found: np.ndarray = 0.1 * missing + np.square(off).sum(1) + 0.02 * np.square(states[:, 2:]).sum(1)
    return found


def earned(state: State, of: Bodies) -> float:
    """Reward of a moment of the world with torques: -log(1 + ``lacking``), 0 at rest and upright, -3.3 for the plain
    pendulum hanging. The logarithm gives the little that is left near the top its weight."""
    return -math.log1p(float(lacking(np.array([state], np.float64), UPRIGHT, of)[0]))


TASKS: dict[str, SwingUp] = {
    "swing-up": SwingUp(
        "from hanging down, both rods upright within 0.3 rad for 1 s", 300, 20, radii=(0.3,), unit="rad", hold=20
    )
}
