"""Policies for two rooms and a door: the four datasets of PLDM's wall environment.

After github.com/vladisai/PLDM, ``pldm_envs/wall/data`` (Sobal et al. 2025). A step is (dx, dy) in pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from shared.worlds.base import World
from shared.worlds.two_room.geometry import HIGH, LOW, MAX_STEP, USUAL, Opening

STEP_MEAN, STEP_STD, STEP_LOW, STEP_HIGH = 1.0, 0.4, 0.2, 1.8
"""Step length of ``wander``, pixels: a truncated normal."""
CONCENTRATION = 5.0
"""Of the von Mises distribution of a turn."""
STEPS = 16
"""Steps of the field's short episodes: ``Crossing`` is through the door within them, ``Charge`` at the wall."""


def layout(world: World) -> tuple[float, float]:
    """The wall's x and the door's y, pixels."""
    values = dict(zip(world.state_names, world.state().tolist()))
    return values["wall_x"], values["door_y"]


def opening(world: World) -> Opening:
    """Half of the wall's thickness and of the door's width, pixels."""
    found: Opening = getattr(world, "half", USUAL)
    return found


class Wander:
    """Step lengths from a normal (1, 0.4) truncated to [0.2, 1.8]; a uniform heading that turns by von Mises (5)."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._rng = rng
        self._heading = rng.uniform(-math.pi, math.pi)
        self._plan: list[np.ndarray] = []
        """Steps that are fixed already, the next one last."""

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        if self._plan:
            return self._plan.pop()
        step = self._step(self._heading)
        self._heading += self._rng.vonmises(0.0, CONCENTRATION)
        return step

    def _step(self, heading: float) -> np.ndarray:
        length = 0.0
        while not STEP_LOW <= length <= STEP_HIGH:
            length = self._rng.normal(STEP_MEAN, STEP_STD)
        return np.array([length * math.cos(heading), length * math.sin(heading)], np.float32)

    def _path(self, heading: float, count: int) -> tuple[list[np.ndarray], float]:
        """``count`` steps from a heading, and the last of their headings."""
        steps = []
        for number in range(count):
            heading += self._rng.vonmises(0.0, CONCENTRATION) if number else 0.0
            steps.append(self._step(heading))
        return steps, heading


class Crossing(Wander):
    """Wanders, with 16 steps first that would lead through the door if nothing were in the way.

    They are built from the door outwards: a place in the door (y from a normal (door, 1.4) truncated to it), a heading
    within 45 degrees of the x axis, and wandering paths to both sides, k steps to one and 16 - k to the other.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        super().__init__(world, rng)
        wall, door = layout(world)
        half, y = opening(world), math.inf
        while abs(y - door) > half.door:
            y = rng.normal(door, 1.4)
        at_door = np.array([rng.uniform(wall - half.wall, wall + half.wall), y])
        before = int(rng.integers(1, STEPS + 1))
        side = 0.0 if rng.random() < 0.5 else math.pi
        heading = side + rng.uniform(-math.pi / 4, math.pi / 4)
        back, _ = self._path(heading + math.pi, before)
        on, self._heading = self._path(heading, STEPS - before)
        self._plan = [*on[::-1], *(-step for step in back)]
        start = at_door + np.sum(back, 0)
        self.reset_options: dict[str, Any] = {"start": start}


class Charge:
    """Steps of one pixel straight to the right or to the left, from within reach of the wall.

    A quarter starts within 2 pixels of the door's height, the others as often above as below.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        wall, door = layout(world)
        if rng.random() < 0.25:
            y = rng.uniform(door - 2, door + 2)
        else:
            y = rng.uniform(LOW, door - 2) if rng.random() < 0.5 else rng.uniform(door + 2, HIGH)
        reach = STEPS - 1
        if rng.random() < 0.5:
            x, way = rng.uniform(max(LOW, wall - reach), wall - 2), 1.0
        else:
            x, way = rng.uniform(wall + 2, min(HIGH, wall + reach)), -1.0
        self._action = np.array([way, 0.0], np.float32)
        self.reset_options: dict[str, Any] = {"start": (x, y)}

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._action


class Bump(Wander):
    """Straight runs of one step, again and again, at what stops: the middle wall, the door and its jambs, the borders.

    A run aims at a point drawn on one of them (the middle wall or the door four times in five) with steps of 0.2 to
    2.45 pixels; it ends two steps after something has stopped it, or after 16 steps. It starts within 10 pixels of the
    middle wall.
    """

    AT_WALL, AT_DOOR, LONGEST = 0.8, 0.4, 16
    """Shares of runs at the middle wall, and of these at the door; steps of a run at most."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._rng = rng
        self._wall, self._door = layout(world)
        side = 1.0 if rng.random() < 0.5 else -1.0
        x = self._wall + side * (opening(world).wall + rng.uniform(0.05, 10.0))
        self.reset_options: dict[str, Any] = {"start": (x, self._height())}
        self._left = self._stopped = 0
        self._before: np.ndarray | None = None

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        at = state[:2].astype(np.float64)
        if self._before is not None and np.array_equal(at, self._before):
            self._stopped += 1
        if self._left == 0 or self._stopped == 2:
            self._left, self._stopped = self.LONGEST, 0
            away = self._target() - at
            length = self._rng.uniform(STEP_LOW, MAX_STEP)
            self._action = (away * length / max(float(np.hypot(*away)), 1e-6)).astype(np.float32)
        self._left -= 1
        self._before = at
        return self._action

    def _height(self) -> float:
        """y of a point on the middle wall, at or near the door in ``AT_DOOR`` of the draws."""
        if self._rng.random() < self.AT_DOOR:
            return float(np.clip(self._door + self._rng.uniform(-7, 7), LOW + 0.01, HIGH - 0.01))
        return float(self._rng.uniform(LOW + 0.01, HIGH - 0.01))

    def _target(self) -> np.ndarray:
        if self._rng.random() < self.AT_WALL:
            return np.array([self._wall, self._height()])
        along, border = self._rng.uniform(LOW, HIGH), LOW if self._rng.random() < 0.5 else HIGH
        return np.array([along, border] if self._rng.random() < 0.5 else [border, along])


class Expert:
    """Steps of 0.9 pixels to one side of the door, through it, and to a goal in the other room; there it stays.

    Start and goal are uniform in their rooms; the door is passed at a height within 3 pixels of its middle.
    """

    SPEED, MARGIN, HALF_WAY = 0.9, 1.0, 3.0
    """Pixels a step; between the path and a jamb; from the wall's middle to the points beside the door."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        (wall, door), half = layout(world), opening(world)
        left = rng.uniform((LOW + 0.01, LOW + 0.01), (wall - half.wall, HIGH - 0.01))
        right = rng.uniform((wall + half.wall, LOW + 0.01), (HIGH - 0.01, HIGH - 0.01))
        y = rng.uniform(door - half.door + self.MARGIN, door + half.door - self.MARGIN)
        beside = [np.array([wall - self.HALF_WAY, y]), np.array([wall + self.HALF_WAY, y])]
        start, goal = left, right
        if rng.random() < 0.5:
            start, goal = right, left
            beside.reverse()
        self._way = [*beside, goal]
        self.reset_options: dict[str, Any] = {"start": start}

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        at = state[:2].astype(np.float64)
        while self._way:
            ahead = self._way[0] - at
            distance = float(np.hypot(*ahead))
            if distance > 0.05:
                return (ahead * min(1.0, self.SPEED / distance)).astype(np.float32)
            self._way.pop(0)
        return np.zeros(2, np.float32)
