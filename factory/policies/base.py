"""What a policy is, and what the driving ones ask of a world."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from shared.worlds.base import World


class Policy(Protocol):
    """One episode's driver."""

    def __init__(self, world: World, rng: np.random.Generator) -> None: ...

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        """Act in ``world.action_space`` for a frame, uint8 ``(H, W, C)``, and a state, float32 ``(S,)``."""


def has_centre_line(world: World) -> bool:
    """Whether the world is a track with actions (steer, gas, brake), so that ``pursuit`` can drive."""
    return hasattr(type(world), "centre_line") and isinstance(world.action_space, gym.spaces.Box)
