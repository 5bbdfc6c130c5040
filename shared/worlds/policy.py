"""Who acts in a world: what a policy is, and those that need nothing but the world."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from shared.worlds.actions import Actions, RandomActions
from shared.worlds.base import World


class Policy(Protocol):
    """Acts for one episode of a world.

    A policy that chooses where the episode starts has an attribute ``reset_options`` as well: the world is then reset
    again, with the same seed and these options, before the first step.
    """

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        """Act in ``world.action_space`` for a frame, uint8 ``(H, W, C)``, and a state, float32 ``(S,)``."""


class Replay:
    """The actions of a recorded episode, one after the other; ``IndexError`` when there are no more."""

    def __init__(self, world: World, rows: np.ndarray) -> None:
        """``rows``: float32 ``(L, A)``, as the store keeps them."""
        self._actions = Actions(world.action_space)
        self._rows = rows
        self._next = 0

    @property
    def finished(self) -> bool:
        return self._next >= len(self._rows)

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        row = self._rows[self._next]
        self._next += 1
        return self._actions.action(row)


class Held:
    """Random actions, each held for ``hold`` steps."""

    def __init__(self, world: World, rng: np.random.Generator, hold: int = 4) -> None:
        self._random, self._hold, self._step, self._action = RandomActions(world.action_space, rng), hold, 0, None

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        if self._step % self._hold == 0:
            self._action = self._random.next()
        self._step += 1
        return self._action


def driver_of(world: World, rng: np.random.Generator) -> Policy:
    """Who acts in an episode that is made to evaluate a model: the world's own driver, or else ``Held``."""
    return (type(world).driver or Held)(world, rng)


def keyed_action(world: World, held: Set[str]) -> np.ndarray:
    """The sum of what the held keys add (``World.keys``), within the action space."""
    space = world.action_space
    assert isinstance(space, gym.spaces.Box)
    total = np.zeros(space.shape, np.float32)
    for key in held & world.keys.keys():
        total += np.array(world.keys[key], np.float32)
    return np.clip(total, space.low, space.high)
