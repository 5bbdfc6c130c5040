"""Policies that ignore observations: uniform and Ornstein-Uhlenbeck noise."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from factory.policies.base import has_centre_line
from shared.worlds.actions import BLOCK, Actions, RandomActions, has_bounds
from shared.worlds.base import World


class Uniform:
    """A random action at every step: uniform between two bounds, else as ``RandomActions`` says."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._actions = RandomActions(world.action_space, rng)

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        return self._actions.next()


class UniformHeld:
    """A uniform random action held for 2 to 16 steps, which gives directed motion."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._uniform = Uniform(world, rng)
        self._rng = rng
        self._left = 0
        self._action: Any = None

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        if self._left == 0:
            self._left = int(self._rng.integers(2, 17))
            self._action = self._uniform.act(frame, state)
        self._left -= 1
        return self._action


class SmoothNoise:
    """A stationary Ornstein-Uhlenbeck process of unit variance in each of ``width`` directions.

    Sampled exactly at the control rate: x' = a x + sqrt(1 - a^2) n, with a = exp(-1 / (correlation time x
    rate)) (Uhlenbeck and Ornstein, 1930). Starts at 0.
    """

    def __init__(self, width: int, correlation_seconds: float, rate: float, rng: np.random.Generator) -> None:
        self._keep = math.exp(-1.0 / (correlation_seconds * rate))
        self._inject = math.sqrt(1.0 - self._keep**2)
        self._value = [0.0] * width
        self._rng = rng
        self._block: list[list[float]] = []

    def next(self) -> list[float]:
        if not self._block:
            self._block = self._rng.standard_normal((BLOCK, len(self._value))).tolist()
        keep, inject = self._keep, self._inject
        self._value = [keep * value + inject * fresh for value, fresh in zip(self._value, self._block.pop())]
        return self._value


class OrnsteinUhlenbeck:
    """Smooth random actions, as in DDPG's exploration (Lillicrap et al., 2015).

    Correlation time 0.2 to 2 s and size 0.3 to 0.9 of the half range are drawn per episode; where a bound is missing,
    the range is 2 wide. The mean is the action nearest to zero; on a world with a centre line it leans to the gas
    (0.3) and off the brake (-0.5), for a car that brakes half of the time goes nowhere.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        space = world.action_space
        assert isinstance(space, gym.spaces.Box)
        self._actions = Actions(space)
        low, high = _range(space)
        mean = np.array([0.0, 0.3, -0.5]) if has_centre_line(world) else np.clip(0.0, low, high)
        size = (high - low) / 2 * rng.uniform(0.3, 0.9)
        correlation = math.exp(rng.uniform(math.log(0.2), math.log(2.0)))
        self._noise = SmoothNoise(low.size, correlation, world.control_rate, rng)
        self._columns = list(zip(mean.tolist(), size.tolist(), low.tolist(), high.tolist()))

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        values = [
            min(max(mean + size * noise, low), high)
            for (mean, size, low, high), noise in zip(self._columns, self._noise.next())
        ]
        action: np.ndarray = self._actions.action(np.array(values, np.float32))
        return action


def _range(space: gym.spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """The range of smooth noise, (A,): between the bounds; 2 wide from a single bound; [-1, 1] without bounds."""
    below, above = (flag.ravel() for flag in has_bounds(space))
    precision = np.result_type(space.dtype or np.float64, np.float32)
    low, high = (bound.astype(precision).ravel() for bound in (space.low, space.high))
    bottom = np.where(below, low, np.where(above, high - 2, -1))
    top = np.where(above, high, np.where(below, low + 2, 1))
    return bottom.astype(precision), top.astype(precision)
