"""Where the frames come from: a simulator that somebody steers, or stored test episodes as they were."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from shared.store.reader import Store
from shared.store.schema import EpisodeRef, split_by_seed
from shared.worlds.base import World, flat_action

KEYS, RANDOM, RECORDED = "keys", "random", "recorded:"
"""Who acts: the viewers' keys, random held actions, or a stored test episode's actions (the prefix is followed by the
policy that took them)."""

HOLD = (2, 17)
"""Steps that a random action is held: [first, second)."""


class Ride(Protocol):
    """One course of a world, episode after episode."""

    frame: np.ndarray
    """uint8 (H, W, C): the newest frame"""
    title: str
    """what is on, for people"""
    lead: int
    """frames by which the other course runs ahead: all begin alike, and a quarter of an episode on they differ"""

    def begin(self, policy: str) -> None:
        """Start another held-out episode; raises ``TinyJEPAError`` where its bytes are damaged."""

    def step(self, policy: str, held: frozenset[str]) -> np.ndarray | None:
        """One frame on: the action that led there, float32 (A,), or None where the episode is over."""


@dataclass(frozen=True)
class Recordings:
    """The stored test episodes that can be replayed, by the policy that drove them."""

    store: Store | None
    by_policy: Mapping[str, Sequence[EpisodeRef]]
    training_seeds: frozenset[int] = frozenset()
    """Of the store's training episodes."""

    @classmethod
    def of(cls, store: Store | None, shortest: int) -> Recordings:
        """Test episodes of ``shortest`` rows or more."""
        by_policy: dict[str, list[EpisodeRef]] = {}
        for ref in store.split("test") if store else ():
            if ref.rows >= shortest:
                by_policy.setdefault(ref.policy, []).append(ref)
        return cls(store, by_policy, frozenset(ref.seed for ref in store.split("train")) if store else frozenset())

    def draw(self, policy: str, rng: np.random.Generator) -> EpisodeRef:
        """An episode of ``recorded:<policy>``, or of any where that is no recorded one."""
        own = self.by_policy.get(policy.removeprefix(RECORDED))
        refs = own or [ref for refs in self.by_policy.values() for ref in refs]
        return refs[int(rng.integers(len(refs)))]

    def read(self, ref: EpisodeRef, *fields: str) -> dict[str, np.ndarray]:
        assert self.store is not None
        return self.store.read_episode(ref, *fields)


class WorldRide:
    """A simulator. Its episodes start from seeds that no training saw."""

    def __init__(self, world: World, recordings: Recordings, rng: np.random.Generator) -> None:
        self._world, self._recordings, self._rng = world, recordings, rng
        self._space = copy.deepcopy(world.action_space)
        self._space.seed(int(rng.integers(2**31)))
        self.frame: np.ndarray = np.zeros(world.observation_space.shape or (), np.uint8)
        self.title = ""
        self.lead = world.max_episode_steps // 4

    def begin(self, policy: str) -> None:
        self._script: np.ndarray | None = None
        if policy.startswith(RECORDED):
            ref = self._recordings.draw(policy, self._rng)
            self._script, seed = self._recordings.read(ref, "action")["action"][:-1], ref.seed
            self.title = _title(ref)
        else:
            seed = self._held_out_seed()
            self.title = f"seed {seed}, held out"
        self._steps = self._left = 0
        self._over = False
        self.frame, _ = self._world.reset(seed=seed)

    def step(self, policy: str, held: frozenset[str]) -> np.ndarray | None:
        if self._over or self._steps >= self._world.max_episode_steps:
            return None
        if policy == KEYS:
            action = keyed_action(self._world, held)
        elif policy.startswith(RECORDED) and self._script is not None:
            if self._steps >= len(self._script):
                return None
            action = gym.spaces.unflatten(self._world.action_space, self._script[self._steps])
        else:
            action = self._held()
        self.frame, _, terminated, truncated, _ = self._world.step(action)
        self._over = terminated or truncated
        self._steps += 1
        return flat_action(self._world.action_space, action)

    def _held_out_seed(self) -> int:
        """A seed of no training episode: of the store at hand, or of any whose episodes are split by their seed."""
        trained = self._recordings.training_seeds
        drawn = (int(self._rng.integers(2**31)) for _ in itertools.count())
        return next(seed for seed in drawn if split_by_seed(seed) == "test" and seed not in trained)

    def _held(self) -> Any:
        if self._left == 0:
            self._left = int(self._rng.integers(*HOLD))
            self._action = self._space.sample()
        self._left -= 1
        return self._action


class StoredRide:
    """Stored test episodes, frame by frame; nobody steers them."""

    def __init__(self, recordings: Recordings, rng: np.random.Generator) -> None:
        self._recordings, self._rng = recordings, rng
        self.frame = np.zeros((1, 1, 1), np.uint8)
        self.title = ""
        self.lead = 0

    def begin(self, policy: str) -> None:
        ref = self._recordings.draw(policy, self._rng)
        read = self._recordings.read(ref, "frame", "action")
        self._frames, self._actions = read["frame"], read["action"]
        self._row, self.frame = 0, self._frames[0]
        self.lead = len(self._frames) // 4
        self.title = _title(ref)

    def step(self, policy: str, held: frozenset[str]) -> np.ndarray | None:
        if self._row + 1 >= len(self._frames):
            return None
        self._row += 1
        self.frame = self._frames[self._row]
        action: np.ndarray = self._actions[self._row - 1]
        return action


def _title(ref: EpisodeRef) -> str:
    return f"test episode {ref.index}" + (f" ({ref.policy})" if ref.policy != "none" else "")


def keyed_action(world: World, held: frozenset[str]) -> np.ndarray:
    """The sum of what the held keys add (``World.keys``), within the action space."""
    space = world.action_space
    assert isinstance(space, gym.spaces.Box)
    total = np.zeros(space.shape, np.float32)
    for key in held & world.keys.keys():
        total += np.array(world.keys[key], np.float32)
    return np.clip(total, space.low, space.high)
