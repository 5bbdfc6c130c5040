"""Actions of any space that can be stored: conversion to and from rows, and random sampling."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np

from shared.worlds.base import flat_action

BLOCK = 256
"""Random numbers are drawn this many steps at a time: a numpy call per step costs more than the draw."""
FAR = 2.0**63
"""A bound of this size or more counts as unbounded: a uniform action between -3e38 and 3e38 is never meant."""
LARGEST_INTEGER = float(2**63 - 1024)
"""The largest float64 that an int64 holds."""


class Actions:
    """Converts actions to stored rows and back.

    A row is float32 ``(A,)``: a Box flattened, a Discrete one-hot. ``action(row(a))`` is ``a`` wherever float32 can
    hold it, else the nearest value within the space. Both return fresh arrays: whoever gets one may change it.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self._space = space
        self._box = space if isinstance(space, gym.spaces.Box) else None
        self._exact = self._box is not None and self._box.dtype == np.float32
        self._plain = self._exact and len(space.shape or ()) == 1

    def row(self, action: Any) -> np.ndarray:
        """float32 ``(A,)``"""
        if self._plain:
            return np.array(action, np.float32)
        if self._box is not None:
            return np.array(action, np.float32).reshape(-1)
        return flat_action(self._space, action)

    def action(self, row: np.ndarray) -> Any:
        """The action stored as ``row``, with the space's own dtype and shape."""
        if self._plain:
            return np.array(row, np.float32)
        if self._box is None:
            return gym.spaces.unflatten(self._space, row)
        if self._exact:
            return np.array(row, np.float32).reshape(self._box.shape)
        values = np.asarray(row, np.float64).reshape(self._box.shape)
        if not np.issubdtype(self._box.dtype, np.floating):
            values = np.clip(np.rint(values), self._box.low.astype(np.float64), self._box.high.astype(np.float64))
            values = np.clip(values, -LARGEST_INTEGER, LARGEST_INTEGER)
        return np.clip(values.astype(self._box.dtype), self._box.low, self._box.high)


class RandomActions:
    """Independent random actions of a space.

    Uniform between two bounds, exponential of mean 1 from a single one, standard normal without any; integers are
    rounded down. Discrete, MultiDiscrete and MultiBinary are uniform. All is drawn from ``rng``.
    """

    def __init__(self, space: gym.Space[Any], rng: np.random.Generator) -> None:
        self._space = copy.deepcopy(space)
        self._space.seed(int(rng.integers(2**31)))
        self._rng = rng
        self._block = np.zeros(0)
        self._next = BLOCK
        if not isinstance(self._space, gym.spaces.Box):
            return
        self._actions = Actions(self._space)
        bounds = self._space.low, self._space.high
        self._low, self._high = (bound.astype(np.float64) + 0.0 for bound in bounds)  # without -0.0
        self._below, self._above = has_bounds(self._space)
        self._bounded = bool(np.all(self._below & self._above)) and self._space.dtype == np.float32
        self._whole = not np.issubdtype(self._space.dtype, np.floating)

    def next(self) -> Any:
        if not isinstance(self._space, gym.spaces.Box):
            return self._space.sample()
        if self._next == BLOCK:
            self._block = self._uniform() if self._bounded else self._any()
            self._next = 0
        self._next += 1
        row = self._block[self._next - 1]
        return row if self._bounded else self._actions.action(row)

    def _uniform(self) -> np.ndarray:
        return self._rng.uniform(self._low, self._high, (BLOCK, *self._low.shape)).astype(np.float32)

    def _any(self) -> np.ndarray:
        shape = (BLOCK, *self._low.shape)
        share, beyond, free = self._rng.random(shape), self._rng.exponential(1.0, shape), self._rng.normal(size=shape)
        low, high = np.where(self._below, self._low, 0.0), np.where(self._above, self._high, 0.0)
        between = low + (high + self._whole - low) * share
        kinds = [self._below & self._above, self._below, self._above]
        drawn = np.select(
            [np.broadcast_to(kind, shape) for kind in kinds], [between, low + beyond, high - beyond], free
        )
        return (np.floor(drawn) if self._whole else drawn).astype(np.float32)


def has_bounds(space: gym.spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Whether each dimension has a lower and an upper bound; bool, of the space's shape."""
    return space.low.astype(np.float64) > -FAR, space.high.astype(np.float64) < FAR
