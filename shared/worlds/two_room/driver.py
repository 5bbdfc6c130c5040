"""Who walks in two rooms when a model is evaluated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from shared.worlds.policy import Policy
from shared.worlds.two_room.geometry import HIGH, LOW
from shared.worlds.two_room.tasks import Straight, ThroughDoor

if TYPE_CHECKING:
    from shared.worlds.two_room.world import TwoRoom

LONGEST = 16
"""Steps of a leg."""
PACE = (0.6, 1.8)
"""Pixels a step, drawn for each leg."""
SWAY = 0.2
"""Of the heading, rad, standard deviation."""


class Walker:
    """Walks to one place after another: half of the time through the door where it is on the way, else straight on,
    so that walls stop it."""

    def __init__(self, world: TwoRoom, rng: np.random.Generator) -> None:
        self._rng, self._left = rng, 0

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        rng = self._rng
        if self._left == 0:
            goal = rng.uniform(LOW, HIGH, 2)
            self._guide: Policy = ThroughDoor(goal) if rng.random() < 0.5 else Straight(goal)
            self._pace, self._left = rng.uniform(*PACE), LONGEST
        self._left -= 1
        dx, dy = self._guide.act(frame, state)
        length, heading = math.hypot(dx, dy), math.atan2(dy, dx) + SWAY * rng.standard_normal()
        if length < self._pace:
            self._left = 0
        step = min(self._pace, max(length, 1e-3))
        return np.array([step * math.cos(heading), step * math.sin(heading)], np.float32)
