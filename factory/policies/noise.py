"""Policies that look at nothing: uniform and Ornstein-Uhlenbeck noise."""

from __future__ import annotations

import copy
import math
from typing import Any

import gymnasium as gym
import numpy as np

from factory.policies.base import has_centre_line
from shared.worlds.base import World

BLOCK = 256
"""Random numbers are drawn this many steps at a time: a numpy call per step costs more than the policy."""


class Uniform:
    """A uniform random action at every step (standard normal in directions without bounds)."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._space = copy.deepcopy(world.action_space)
        self._space.seed(int(rng.integers(2**31)))
        self._block: np.ndarray | None = None
        self._next = BLOCK
        self._rng = rng
        space = self._space
        self._bounded = isinstance(space, gym.spaces.Box) and space.dtype == np.float32 and space.is_bounded()

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        if not self._bounded:
            return self._space.sample()
        assert isinstance(self._space, gym.spaces.Box)
        if self._next == BLOCK:
            low, high = self._space.low, self._space.high
            self._block = self._rng.uniform(low, high, (BLOCK, *low.shape)).astype(np.float32)
            self._next = 0
        assert self._block is not None
        self._next += 1
        return self._block[self._next - 1]


class UniformHeld:
    """A uniform random action held for 2 to 16 steps: motion with a direction to it."""

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

    Correlation time 0.2 to 2 s and size 0.3 to 0.9 of the half range are drawn per episode. The mean is the
    action nearest to zero; on a world with a centre line it leans to the gas (0.3) and off the brake (-0.5),
    for a car that brakes half of the time goes nowhere.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        space = world.action_space
        assert isinstance(space, gym.spaces.Box)
        self._shape, self._dtype = space.shape, space.dtype
        low = np.where(np.isfinite(space.low), space.low, -1.0).ravel()
        high = np.where(np.isfinite(space.high), space.high, 1.0).ravel()
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
        return np.array(values, self._dtype).reshape(self._shape)
