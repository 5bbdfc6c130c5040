"""The two-room world, one episode at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from gymnasium import spaces

from shared.errors import TinyJEPAError
from shared.worlds.axes import Axis, even
from shared.worlds.base import Dataset, World
from shared.worlds.factors import Factor, number
from shared.worlds.tasks import Task
from shared.worlds.two_room import geometry
from shared.worlds.two_room.driver import Walker
from shared.worlds.two_room.geometry import DOT_STD, HIGH, LOW, MAX_STEP, SIZE
from shared.worlds.two_room.tasks import TASKS
from shared.worlds.two_room.violations import VIOLATIONS
from shared.worlds.violations import Violation

PICTURE_SIDE = 480
REACH = 5
"""Pixels around the dot's pixel beyond which it is 0."""


FACTORS = (
    Factor("dot_size", "pixels, standard deviation", DOT_STD, (0.7, 3.0), (1.0, 1.8)),
    Factor("contrast", "share", 1.0, (0.1, 1.0), (0.6, 1.0)),
    Factor("door_width", "pixels", 9.0, (5.0, 15.0), (7.0, 11.0), physical=True),
    Factor("wall_thickness", "pixels", 3.0, (1.0, 6.0), (2.0, 4.0), physical=True),
)


class TwoRoom(World):
    """A dot in two rooms with a wall between them and a door in the wall; the wall is somewhere else in each episode.

    * Observation: uint8 ``(65, 65, 2)``: the dot (a Gaussian of standard deviation 1.3 pixels and peak 255) and the
      walls (0 or 255): borders on the pixel lines 4 and 60, the middle wall 3 pixels wide, its door 9 pixels high. A
      ``frame_size`` other than 65 shows the same picture scaled.
    * Action: the step (dx, dy) in pixels, float32, ``Box(-2.45, 2.45, (2,))``; a step longer than 2.45 is shortened.
      Reward: always 0. It never terminates.
    * State: ``x``, ``y`` of the dot, in (4, 60); ``wall_x``, the middle of the wall; ``door_y``, that of the door.
    * Start: uniform in both rooms, or ``reset(options={"start": (x, y)})``, which leaves everything else as it was;
      ``wall`` (x) and ``door`` (y) choose the layout.

    Options: ``walls`` chooses the layouts, uniformly: ``seen`` (x 20 to 44 without 36 to 40, door y 10 to 54: 900
    layouts), ``held-out`` (x 36 to 40), ``random`` (all 1,125), ``fixed`` (x 32, door 10). ``collision``: ``stay`` (a
    step into a wall does not happen) or ``stop`` (up to the wall, and off it by noise of half a pixel).
    ``factors``, ``vary``: values of ``FACTORS`` by name, and those to sample per episode (not in ``TwoRoomBatch``).

    The world of PLDM (Sobal et al. 2025, github.com/vladisai/PLDM) and eb_jepa, and of the data of the NYU deep
    learning course 2025. ``TwoRoomBatch`` steps many at once.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium declares it per instance
    state_names = ("x", "y", "wall_x", "door_y")
    default_recipe: ClassVar[str] = "two-room-grid"
    control_rate = 10.0
    max_episode_steps = 90
    default_frame_size: ClassVar[int] = SIZE
    keys: ClassVar[dict[str, tuple[float, ...]]] = {
        "left": (-1.2, 0.0),
        "right": (1.2, 0.0),
        "up": (0.0, -1.2),
        "down": (0.0, 1.2),
    }
    maps: ClassVar[tuple[tuple[str, str], ...]] = (("x", "y"), ("wall_x", "door_y"))
    violations: ClassVar[tuple[Violation, ...]] = VIOLATIONS
    factors: ClassVar[tuple[Factor, ...]] = FACTORS
    tasks: ClassVar[Mapping[str, Task]] = TASKS
    driver: ClassVar[type[Walker]] = Walker
    unseen: ClassVar[dict[str, dict[str, Any]]] = {"held-out": {"walls": "held-out"}}
    default_dataset = "mixed"
    datasets: ClassVar[dict[str, Dataset]] = {
        "mixed": Dataset(
            "mixed-rooms",
            32,
            {"walls": "seen"},
            "33 frames: free walks, runs at walls and door, ways through it",
        ),
        "normal": Dataset("mixed", 16, {"walls": "seen"}, "17 frames of wandering, every tenth through the door"),
        "wall": Dataset("charge", 16, {"walls": "seen"}, "17 frames straight at the wall, a quarter at the door"),
        "wall_other": Dataset("charge", 16, {"walls": "held-out"}, "the same with walls where training has none"),
        "expert": Dataset("expert", 90, {"walls": "seen"}, "91 frames from one room to the other through the door"),
    }

    @classmethod
    def axes(cls, frame_size: int) -> tuple[Axis, ...]:
        dot = even("x", "pixels", LOW, HIGH, 8), even("y", "pixels", LOW, HIGH, 8, down=True)
        return *dot, even("wall_x", "pixels", 19.5, 44.5, 5), even("door_y", "pixels", 9.5, 54.5, 5, down=True)

    x: float
    y: float
    """Where the dot is, pixels."""
    wall: float
    door: float
    """The x of the wall's middle, the y of its door's."""
    half: geometry.Opening
    """Half of the wall's thickness and of the door's width, pixels."""

    def __init__(
        self,
        frame_size: int = SIZE,
        walls: str = "seen",
        collision: str = "stay",
        render_mode: str | None = None,
        factors: Mapping[str, Any] | None = None,
        vary: Sequence[str] = (),
    ) -> None:
        self.choose(factors, vary)
        if render_mode not in (None, "rgb_array"):
            raise TinyJEPAError(f"two-room: unknown render_mode '{render_mode}'. Choices: rgb_array")
        geometry.check_collision(collision)
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (frame_size, frame_size, 2), np.uint8)
        self.action_space = spaces.Box(-MAX_STEP, MAX_STEP, (2,), np.float32)
        self._size = frame_size
        self._wall_choices, self._door_choices = geometry.layouts(walls)
        self._collision = collision
        self.half = self._opening()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        wall, door = (self.np_random.choice(choices, 1) for choices in (self._wall_choices, self._door_choices))
        if options:
            wall, door = (np.array([options.get(key, at[0])]) for key, at in (("wall", wall), ("door", door)))
        self.half = self._opening()
        anywhere = self.np_random.uniform(LOW, HIGH, (1, 2))
        start = geometry.outside_walls(anywhere, wall, door, self.np_random, self.half)[0]
        if options and "start" in options:
            start = np.clip(np.asarray(options["start"], np.float64), LOW + 0.01, HIGH - 0.01)
        self.x, self.y = float(start[0]), float(start[1])
        self.rebuild(float(wall[0]), float(door[0]))
        return self.frame(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        dx, dy = float(action[0]), float(action[1])
        length = math.hypot(dx, dy)
        if length > MAX_STEP:
            dx, dy = dx * MAX_STEP / length, dy * MAX_STEP / length
        x, y = self.x + dx, self.y + dy
        if not self._blocked(x, y, dx, dy):
            self.x, self.y = x, y
        elif self._collision == "stop":
            wall, door = np.array([self.wall]), np.array([self.door])
            at = np.array([[self.x, self.y]])
            moved = geometry.advance(at, np.array([[dx, dy]]), wall, door, "stop", self.np_random, self.half)
            self.x, self.y = float(moved[0, 0]), float(moved[0, 1])
        return self.frame(), 0.0, False, False, {}

    def state(self) -> np.ndarray:
        return np.array([self.x, self.y, self.wall, self.door], np.float32)

    def next_states(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        at = geometry.advance(states[:, :2], actions, states[:, 2], states[:, 3], self._collision, half=self.half)
        return np.concatenate([at, states[:, 2:]], 1)

    def render(self) -> np.ndarray | None:
        """The rooms, enlarged: RGB uint8 ``(480, 480, 3)``, the dot red on white; None without ``render_mode``."""
        if self.render_mode is None:
            return None
        side = (PICTURE_SIDE, PICTURE_SIDE)
        dot, wall = cv2.split(cv2.resize(self.picture([(self.x, self.y)]), side, interpolation=cv2.INTER_NEAREST))
        paper = 255 - wall
        return np.stack([paper, np.minimum(paper, 255 - dot), np.minimum(paper, 255 - dot)], 2)

    def _blocked(self, x: float, y: float, dx: float, dy: float) -> bool:
        """What ``geometry.blocked`` says of one move to (x, y), without arrays: 50 times faster."""
        if x <= LOW or x >= HIGH or y <= LOW or y >= HIGH:
            return True
        half_wall, half_door = self.half
        if abs(x - self.wall) > MAX_STEP + half_wall + 1:
            return False
        for side in (self.wall - half_wall, self.wall + half_wall):
            if (self.x - side) * (x - side) < 0:
                share = (side - self.x) / dx
                if abs(self.y + share * dy - self.door) > half_door:
                    return True
        jamb = self.door + math.copysign(half_door, dy)
        if (self.y - jamb) * (y - jamb) < 0:
            share = (jamb - self.y) / dy
            return abs(self.x + share * dx - self.wall) < half_wall
        return False

    def frame(self) -> np.ndarray:
        return self.scaled(self.picture([(self.x, self.y)]))

    def scaled(self, picture: np.ndarray) -> np.ndarray:
        """A picture, uint8 (65, 65, 2), as a frame of this world's size."""
        if self._size == SIZE:
            return picture
        shrink = cv2.INTER_AREA if self._size < SIZE else cv2.INTER_NEAREST
        return cv2.resize(picture, (self._size, self._size), interpolation=shrink)

    def rebuild(self, wall: float, door: float) -> None:
        """Put the middle wall and its door elsewhere. A door outside [0, 65] leaves the wall without one."""
        self.wall, self.door = wall, door
        self._background = np.zeros((SIZE, SIZE, 2), np.uint8)
        self._contrast = number(self.factor_values["contrast"])
        self.dot_std = number(self.factor_values["dot_size"])
        walls = geometry.draw_walls(np.array([wall]), np.array([door]), self.half)[0]
        self._background[:, :, 1] = (walls * self._contrast).astype(np.uint8)

    def _opening(self) -> geometry.Opening:
        """A door of w pixels is open where its middle is up to (w - 1) / 2 away; the wall is as thick likewise."""
        thickness, width = (number(self.factor_values[name]) for name in ("wall_thickness", "door_width"))
        return geometry.Opening((thickness - 1) / 2, (width - 1) / 2)

    def picture(self, dots: Sequence[tuple[float, float]], std: float | None = None) -> np.ndarray:
        """The rooms with dots at these places and of this size, by default its own, pixels: uint8 (65, 65, 2)."""
        std, peak = std or self.dot_std, 255 * self._contrast
        picture = self._background.copy()
        reach = math.ceil(REACH * std / DOT_STD)
        for x, y in dots:
            left, top = max(round(x) - reach, 0), max(round(y) - reach, 0)
            patch = picture[top : max(round(y) + reach + 1, 0), left : max(round(x) + reach + 1, 0), 0]
            across = np.exp((np.arange(left, left + patch.shape[1]) - x) ** 2 * (-0.5 / std**2))
            down = np.exp((np.arange(top, top + patch.shape[0]) - y) ** 2 * (-0.5 / std**2))
            dot = ((peak * down)[:, None] * across).astype(np.uint8)
            np.maximum(patch, dot, out=patch)
        return picture
