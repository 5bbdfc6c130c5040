"""A gymnasium environment that misbehaves on purpose: ``tests.support.hostile:tests/Hostile-v0``."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import numpy as np

ID = "tests.support.hostile:tests/Hostile-v0"


class Hostile(gym.Env[np.ndarray, int]):
    """A noisy picture, episodes of 10 to 20 steps. ``poison`` is the seed of the episode in which it misbehaves:

    it ends its process (``how="die"``) or raises an error (``how="raise"``) at the fifth step.
    """

    observation_space = gym.spaces.Box(0, 255, (16, 16, 1), np.uint8)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, poison: int = -1, how: str = "die") -> None:
        self.poison, self.how = poison, how

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.poisoned = seed == self.poison
        self.left = int(self.np_random.integers(10, 21))
        self.step_number = 0
        return self.picture(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        self.left -= 1
        if self.poisoned and self.step_number == 5:
            if self.how == "die":
                os._exit(1)
            raise RuntimeError("the floor\ngave way")
        return self.picture(), float(action), self.left == 0, False, {}

    def picture(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (16, 16, 1), dtype=np.uint8)


gym.register("tests/Hostile-v0", entry_point=Hostile, max_episode_steps=50)
