"""What can be asked of an agent in a world: fixed lists of episodes, and how well each went.

A world offers its tasks as ``World.tasks``. ``Reach`` has a goal, a moment that the world can be put into; ``Score``
adds up rewards, and every world has it. A task knows no agent: its ``guides`` are policies that read the true state,
to be measured beside one.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from shared.errors import TinyJEPAError
from shared.worlds.base import World, action_dim
from shared.worlds.policy import Policy

LISTED = 20_261_125
"""The seed of the fixed lists."""


@dataclass(frozen=True)
class Case:
    """One episode of a task."""

    seed: int
    """The world is reset with it, [0, 2^31)."""
    start: dict[str, Any] = field(default_factory=dict)
    """Reset options of the start; empty: what the seed gives."""
    goal: dict[str, Any] | None = None
    """Reset options that put the world, with the same seed, at the goal; None for a task without one."""
    group: str = "all"
    """Episodes that are reported apart."""


MakeGuide = Callable[[np.ndarray, np.ndarray, np.random.Generator], Policy]
"""From the states at start and goal, float32 (S,) each, and the episode's generator."""


class Task(ABC):
    """Something to be done in a world.

    ``case(rng, number)`` must draw everything from ``rng``: the list of a task is then a pure function of a seed.
    """

    guides: ClassVar[Mapping[str, MakeGuide]] = {}
    """Baselines and upper bounds of this task: policies that read the true state."""

    def __init__(self, summary: str, steps: int, episodes: int) -> None:
        self.summary = summary
        self.steps = steps
        """Actions an agent has."""
        self.episodes = episodes
        """Length of the fixed list."""

    @abstractmethod
    def case(self, rng: np.random.Generator, number: int) -> Case:
        """Draw the list's episode ``number``."""

    def cases(self, count: int, seed: int = LISTED) -> list[Case]:
        """The first ``count`` episodes of the fixed list, or of another one for another ``seed``."""
        return [self.case(np.random.default_rng([seed, number]), number) for number in range(count)]

    def practice(self, count: int, seed: int) -> list[Case]:
        """Episodes that may be learned from: none of the fixed list, nothing that is kept for tests."""
        return self.cases(count, seed)

    def of(self, world: World) -> Task:
        """This task in one world: what it says of states is then for the dimensions that the world has in its present
        episode. The task itself, where it reads none."""
        return self

    def check(self, world: World) -> None:
        """Raise ``TinyJEPAError`` where this world cannot be acted in."""
        if action_dim(world.action_space) == 0:
            raise TinyJEPAError("nobody acts in this world, so there is nothing to plan: collect it with actions")


class Reach(Task):
    """Be at the goal: closer than a radius, at the end, ever, and for ``hold`` frames in a row."""

    def __init__(
        self, summary: str, steps: int, episodes: int, *, radii: tuple[float, ...], unit: str, hold: int = 10
    ) -> None:
        super().__init__(summary, steps, episodes)
        self.radii, self.unit, self.hold = radii, unit, hold
        """``radii``: the first one is the one that counts."""

    @abstractmethod
    def distance(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """How far states (N, S) are from the goal's (S,), in ``unit``: float (N,)."""

    def remaining(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Length of the way from states (N, S) to the goal (S,), around what is in it: what a planner on the true
        state minimises. The distance, where nobody knows better."""
        return self.distance(states, goal)

    def impossible(self, path: np.ndarray) -> bool:
        """Whether a path of states (T, S) that was imagined does what the world forbids; False where nobody says."""
        return False

    def pointed(self, state: np.ndarray, across: float, down: float) -> dict[str, Any] | None:
        """Reset options of the goal that a point of the picture stands for, everything else being as in ``state`` (S,).

        ``across`` and ``down``: shares of the picture's width and height, [0, 1]. None where pointing sets no goal.
        """
        return None

    def places(self, states: np.ndarray) -> np.ndarray | None:
        """Where states (N, S) are in the picture, as such shares, float (N, 2); None where nobody says."""
        return None


class Score(Task):
    """Earn rewards: the sum over ``steps`` actions, or until the episode ends."""

    def __init__(self, summary: str, steps: int, episodes: int, solved: float | None = None) -> None:
        super().__init__(summary, steps, episodes)
        self.solved = solved
        """The score from which an episode counts as solved; None where nobody has said."""

    def case(self, rng: np.random.Generator, number: int) -> Case:
        return Case(int(rng.integers(2**31)))


REWARD = "reward"
"""The task that every world has: the sum of its rewards."""


def tasks(world: World) -> dict[str, Task]:
    """What can be asked in this world, by name, with its dimensions (``Task.of``); the first is its own default."""
    own = {name: task.of(world) for name, task in type(world).tasks.items()}
    return own | {REWARD: Score("earn the world's own rewards", world.max_episode_steps, 20)}


def fingerprint(cases: list[Case]) -> str:
    """SHA-256 of a list of episodes, hexadecimal: two results with the same one were given the same episodes."""
    entries = [[case.seed, case.start, case.goal, case.group] for case in cases]
    text = json.dumps(entries, sort_keys=True, default=lambda value: np.asarray(value).tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def steps_states(world: World) -> bool:
    """Whether the world can step true states without being at them."""
    return type(world).next_states is not World.next_states


def discrete_widths(space: gym.Space[Any]) -> tuple[int, ...]:
    """How a stored action of a discrete space splits into one-hot groups: widths that add up to its length."""
    if isinstance(space, gym.spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.reshape(-1))
    raise TinyJEPAError(f"{space} is neither Discrete nor MultiDiscrete")
