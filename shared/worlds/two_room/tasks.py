"""What an agent is asked in the two rooms: protocols of the field, and one of our own.

Every list is fixed: start, goal and layout of episode k depend on k and the list's seed only.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shared.worlds.tasks import Case, MakeGuide, Reach, Task
from shared.worlds.two_room import geometry
from shared.worlds.two_room.geometry import HALF_DOOR, HALF_WALL, HIGH, LOW, MAX_STEP, SIZE, USUAL

if TYPE_CHECKING:
    from shared.worlds.two_room.world import TwoRoom

CLEAR = 2.0
"""Starts and goals keep this far from walls of the usual thickness, pixels; the lists are the same for all others."""
BESIDE = 3.0
"""From the wall's middle to the points beside the door through which a way leads, pixels: off the thickest wall."""
SLACK = 1.5
"""An imagined path is read off latents: it may miss the door by so much, pixels."""


class Walk(Reach):
    """Walk from one place to another. Radii in pixels of the 65x65 frame; ``groups``: kinds of layouts, in turn."""

    guides: ClassVar[Mapping[str, MakeGuide]] = {
        "straight": lambda start, goal, rng: Straight(goal),
        "expert": lambda start, goal, rng: ThroughDoor(goal),
    }
    _world: TwoRoom | None = None

    def __init__(
        self,
        summary: str,
        steps: int,
        episodes: int,
        *,
        radii: tuple[float, ...] = (4.5, 1.41),
        groups: Mapping[str, geometry.Walls],
        ahead: int | None = None,
    ) -> None:
        """``ahead``: the goal is where a wandering path of so many steps leads; None: anywhere in the other room."""
        super().__init__(summary, steps, episodes, radii=radii, unit="pixels")
        self._groups, self._ahead = groups, ahead

    def of(self, world: Any) -> Walk:
        bound = copy.copy(self)
        bound._world = world
        return bound

    def case(self, rng: np.random.Generator, number: int) -> Case:
        group = list(self._groups)[number % len(self._groups)]
        wall, door = (float(rng.choice(choices)) for choices in geometry.layouts(self._groups[group]))
        near, far = LOW + CLEAR, HIGH - CLEAR
        rooms = [(near, wall - HALF_WALL - CLEAR), (wall + HALF_WALL + CLEAR, far)]
        if rng.random() < 0.5:
            rooms.reverse()
        start, goal = (np.array([rng.uniform(*room), rng.uniform(near, far)]) for room in rooms)
        if self._ahead is not None:
            goal = wander(start, wall, door, self._ahead, rng)
        layout = {"wall": wall, "door": door}
        seed = int(rng.integers(2**31))
        return Case(seed, {"start": tuple(start.tolist()), **layout}, {"start": tuple(goal.tolist()), **layout}, group)

    def practice(self, count: int, seed: int) -> list[Case]:
        """Layouts seen only."""
        seen = [name for name, walls in self._groups.items() if walls == "seen"]
        cases = (self.case(np.random.default_rng([seed, number]), number) for number in itertools.count())
        return list(itertools.islice((case for case in cases if case.group in seen), count))

    def distance(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        return np.hypot(states[:, 0] - goal[0], states[:, 1] - goal[1])

    def remaining(self, states: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Through the door, where it is between: to the point beside it, across, and on."""
        x, y, wall, door = (states[:, i] for i in range(4))
        side = np.where(x < wall, -1.0, 1.0)
        other = (goal[0] - wall) * side < 0
        into = np.hypot(x - (wall + BESIDE * side), y - door)
        within = (np.abs(x - wall) <= BESIDE) & (np.abs(y - door) <= self._half_door)
        out = np.hypot(wall - BESIDE * side - goal[0], door - goal[1])
        through = np.where(within, np.hypot(x - (wall - BESIDE * side), y - door), into + 2 * BESIDE) + out
        return np.where(other, through, self.distance(states, goal))

    def impossible(self, path: np.ndarray) -> bool:
        """Whether it changes rooms elsewhere than at the door, of the layout that the path's first state shows."""
        wall, door = path[0, 2], path[0, 3]
        side = np.sign(path[:, 0] - wall)
        crossed = np.flatnonzero(side[:-1] * side[1:] < 0)
        share = (wall - path[crossed, 0]) / (path[crossed + 1, 0] - path[crossed, 0])
        y = path[crossed, 1] + share * (path[crossed + 1, 1] - path[crossed, 1])
        return bool(np.any(np.abs(y - door) > self._half_door + SLACK))

    def pointed(self, state: np.ndarray, across: float, down: float) -> dict[str, Any] | None:
        """The place that is pointed at, or the nearest one that is ``CLEAR`` of the borders and off the middle wall."""
        wall, door = float(state[2]), float(state[3])
        x, y = (min(max(share * SIZE - 0.5, LOW + CLEAR), HIGH - CLEAR) for share in (across, down))
        if abs(x - wall) < BESIDE and abs(y - door) > self._half_door:
            x = wall + math.copysign(BESIDE, x - wall)
        return {"start": (x, y), "wall": wall, "door": door}

    def places(self, states: np.ndarray) -> np.ndarray | None:
        return (states[:, :2] + 0.5) / SIZE

    @property
    def _half_door(self) -> float:
        return (USUAL if self._world is None else self._world.half).door


def wander(start: np.ndarray, wall: float, door: float, steps: int, rng: np.random.Generator) -> np.ndarray:
    """The end, (2,), of a path of ``steps`` steps of 1.2 pixels whose heading wanders and turns where a wall is met."""
    at, heading = start[None], rng.uniform(-math.pi, math.pi)
    layout = np.array([wall]), np.array([door])
    for _ in range(steps):
        step = 1.2 * np.array([[math.cos(heading), math.sin(heading)]])
        met = geometry.blocked(at, at + step, *layout)[0]
        at = geometry.advance(at, step, *layout)
        heading = rng.uniform(-math.pi, math.pi) if met else heading + rng.normal(0, 0.3)
    place: np.ndarray = at[0]
    return place


class Straight:
    """The baseline that knows the goal and no walls: straight ahead."""

    def __init__(self, goal: np.ndarray) -> None:
        self._goal = goal[:2].astype(np.float64)

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        return step_to(state[:2].astype(np.float64), self._goal)


class ThroughDoor:
    """The upper bound that knows the layout: beside the door, through it, to the goal."""

    def __init__(self, goal: np.ndarray) -> None:
        self._goal = goal[:2].astype(np.float64)

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        at, wall, door = state[:2].astype(np.float64), float(state[2]), float(state[3])
        side = -1.0 if at[0] < wall else 1.0
        if (self._goal[0] - wall) * side > 0:
            return step_to(at, self._goal)
        beside, across = np.array([wall + BESIDE * side, door]), np.array([wall - BESIDE * side, door])
        aligned = abs(at[1] - door) < HALF_DOOR / 2 and abs(at[0] - wall) <= BESIDE + 0.5
        return step_to(at, across if aligned else beside)


def step_to(at: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A step of at most ``MAX_STEP`` from ``at`` (2,) towards ``place`` (2,): float32 (2,)."""
    ahead = place - at
    distance = float(np.hypot(*ahead))
    step: np.ndarray = (ahead * min(1.0, 0.99 * MAX_STEP / max(distance, 1e-9))).astype(np.float32)
    return step


BOTH: dict[str, geometry.Walls] = {"seen": "seen", "unseen": "held-out"}
"""Layouts that training data have, and those that they never have."""
SEEN: dict[str, geometry.Walls] = {"seen": "seen"}

TASKS: dict[str, Task] = {
    "ours": Walk("200 pairs in opposite rooms, 200 steps; layouts seen and never seen", 200, 200, groups=BOTH),
    "eb-jepa": Walk("eb_jepa: 20 pairs in opposite rooms, 200 steps; 4.5 px at the end", 200, 20, groups=SEEN),
    "dino-wm": Walk(
        "DINO-WM: 50 pairs in opposite rooms; 4.5 px ever; layouts seen and never seen", 200, 50, groups=BOTH
    ),
    "lewm": Walk(
        "LeWM: 50 pairs, the goal 25 steps ahead, 50 steps; 4.6 px ever", 50, 50, radii=(4.6, 1.41), groups=SEEN,
        ahead=25,
    ),
    "pldm": Walk(
        "PLDM, medium: 100 pairs in opposite rooms, 200 steps; 1.41 px ever", 200, 100, radii=(1.41, 4.5), groups=SEEN
    ),
}  # fmt: skip
