"""No actions: for worlds without actions."""

from __future__ import annotations

import numpy as np

from shared.worlds.base import World


class NoAction:
    """The empty action, float32 ``(0,)``."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._action = np.zeros(0, np.float32)

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._action
