"""What some policies require of a world."""

from __future__ import annotations

from typing import Protocol

import gymnasium as gym
import numpy as np

from shared.worlds.base import World

STATE_NAMES = ("x", "y", "angle", "forward_speed", "lateral_offset")
"""States that a driver reads; a world with these has a ``line`` after its reset."""


class CentreLine(Protocol):
    """The middle of a closed track."""

    xy: np.ndarray
    """float64 ``(T, 2)``: points in driving order, world units"""
    nearest: int
    """Index of the point nearest to the car now"""


def has_centre_line(world: World) -> bool:
    """Whether the world is a track with actions (steer, gas, brake), so that ``pursuit`` can drive."""
    return set(STATE_NAMES) <= set(world.state_names) and isinstance(world.action_space, gym.spaces.Box)


ROOM_NAMES = ("x", "y", "wall_x", "door_y")
"""States that a policy for rooms reads."""


def has_rooms(world: World) -> bool:
    """Whether the world is two rooms and a door, entered by steps in pixels."""
    return set(ROOM_NAMES) <= set(world.state_names)
