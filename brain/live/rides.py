"""Sources of frames: a simulator that viewers can steer, or stored test episodes."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from brain.live.pilot import Pilot
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, split_by_seed
from shared.worlds.actions import RandomActions
from shared.worlds.base import World
from shared.worlds.episode import play
from shared.worlds.policy import Replay, keyed_action

KEYS, RANDOM, RECORDED, PLANNER = "keys", "random", "recorded:", "planner"
"""Who acts: the viewers' keys, random held actions, a stored test episode's actions (the prefix is followed by the
policy that took them), or an agent that plans."""

HOLD = (2, 17)
"""Range of the number of steps for which a random action is held: [first, second)."""


class Ride(Protocol):
    """One trajectory of a world, episode after episode."""

    frame: np.ndarray
    """uint8 (H, W, C): the newest frame"""
    title: str
    """description for people"""
    lead: int
    """frames by which the other course runs ahead: all begin alike, and a quarter of an episode on they differ"""
    world: World | None
    """the simulator, if there is one"""

    def begin(self, policy: str) -> None:
        """Start another held-out episode. Raises ``TinyJEPAError`` if its data are damaged."""

    def step(self, policy: str, held: frozenset[str]) -> np.ndarray | None:
        """Advance one frame. Returns the action taken, float32 (A,), or None at the end of the episode."""


@dataclass(frozen=True)
class Recordings:
    """The stored test episodes that can be replayed, by policy."""

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
    """A simulator. Its episodes start from seeds that were not used in training."""

    reset_options: dict[str, Any] | None = None
    """of the episode's start"""

    def __init__(
        self, world: World, recordings: Recordings, rng: np.random.Generator, pilot: Pilot | None = None
    ) -> None:
        self.world: World | None = world
        self._pilot = pilot
        self._world, self._recordings, self._rng = world, recordings, rng
        self._random = RandomActions(world.action_space, rng)
        self.frame: np.ndarray = np.zeros(world.observation_space.shape or (), np.uint8)
        self.title = ""
        self.lead = world.max_episode_steps // 4

    def begin(self, policy: str) -> None:
        self._script: Replay | None = None
        case, self.reset_options = None, None
        self._remaining = self._world.max_episode_steps
        if policy.startswith(RECORDED):
            ref = self._recordings.draw(policy, self._rng)
            rows, seed = self._recordings.read(ref, "action")["action"][:-1], ref.seed
            self._script = Replay(self._world, rows)
            self.title = _title(ref)
        else:
            seed = self._held_out_seed()
            self.title = f"seed {seed}, held out"
        if policy == PLANNER and self._pilot is not None:
            case = replace(self._pilot.case(self._rng), seed=seed)
            self.reset_options = case.start or None
            self._remaining = self._pilot.job.task.steps
        self._left = 0
        self._course = play(self._world, seed, lambda: self, sys.maxsize)
        self.frame = next(self._course).frame
        if case is not None and self._pilot is not None:
            self._pilot.begin(case)

    def aim(self, across: float, down: float) -> None:
        """The planner acts from here on, towards a point of the picture, and has the steps of its task for it."""
        assert self._pilot is not None
        self._pilot.point(self._world, across, down)
        self._remaining = self._pilot.job.task.steps

    def look_again(self) -> None:
        """The world is not where the planner's last action led: it plans anew, for the same goal."""
        assert self._pilot is not None
        self.frame = self._world.frame()
        self._pilot.again(self._world)

    def step(self, policy: str, held: frozenset[str]) -> np.ndarray | None:
        if policy.startswith(RECORDED) and self._script is not None and self._script.finished:
            return None
        self._policy, self._keys = policy, held
        step = next(self._course, None) if self._remaining else None
        if step is None:
            return None
        self._remaining -= 1
        self.frame = step.frame
        return step.action

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        """The ride is the policy of its own episode: the source of actions may change at every step.

        It looks for itself: an intervention may have led the world elsewhere since ``frame`` and ``state``.
        """
        frame, state = self.frame, self._world.state()
        if self._policy == KEYS:
            return keyed_action(self._world, self._keys)
        if self._policy == PLANNER and self._pilot is not None:
            return self._pilot.act(frame, state)
        if self._policy.startswith(RECORDED) and self._script is not None:
            return self._script.act(frame, state)
        return self._held()

    def _held_out_seed(self) -> int:
        """A seed of no training episode: of the store at hand, or of any whose episodes are split by their seed."""
        trained = self._recordings.training_seeds
        drawn = (int(self._rng.integers(2**31)) for _ in itertools.count())
        return next(seed for seed in drawn if split_by_seed(seed) == "test" and seed not in trained)

    def _held(self) -> Any:
        if self._left == 0:
            self._left = int(self._rng.integers(*HOLD))
            self._action = self._random.next()
        self._left -= 1
        return self._action


class StoredRide:
    """Stored test episodes, frame by frame; they cannot be steered."""

    world: World | None = None

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
