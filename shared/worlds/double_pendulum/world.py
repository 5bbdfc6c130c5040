"""The double pendulum as a world: its start, its two motors and its picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from gymnasium import spaces

from shared.errors import TinyJEPAError
from shared.worlds.axes import Axis, around, even
from shared.worlds.base import World
from shared.worlds.double_pendulum.physics import START, SUBSTEP, Bodies, State, advance, bodies
from shared.worlds.double_pendulum.tasks import TASKS, earned
from shared.worlds.double_pendulum.violations import VIOLATIONS
from shared.worlds.factors import Factor, Value, number
from shared.worlds.tasks import Task
from shared.worlds.violations import Violation

SUBSTEPS = 20
"""Integrator steps between two frames."""

MAX_TORQUE = 2.0
"""Torque of a joint at action 1, N m; against gravity the pivot can need 29.4, the elbow 9.8.

In 10 s the random policies change the energy by 6 +- 12 J. Whoever always pushes along the motion reaches 39 rad/s,
still less than half a turn a step (63 rad/s)."""

HALF_WIDTH = 2.2
"""From the frame's centre to a pixel before its border, m."""

BOB_RADIUS = 0.18
"""Drawn radius of a bob, m; antialiasing adds about half a pixel."""

ROD_COLOUR, BOB_COLOURS = (110, 110, 110), ((255, 64, 64), (64, 160, 255))
"""RGB. Red exceeds blue on bob 1 alone, blue exceeds red on bob 2 alone."""

FRACTION_BITS = 8
"""OpenCV takes places to 1/256 of a pixel."""

PICTURE_SIDE = 480

Colour = tuple[int, int, int]
Place = tuple[float, float]
"""Metres from the pivot, to the right and downwards."""

FACTORS = (
    Factor("length1", "m", 1.0, (0.5, 1.0), (0.8, 1.0), physical=True),
    Factor("length2", "m", 1.0, (0.5, 1.0), (0.8, 1.0), physical=True),
    Factor("mass1", "kg", 1.0, (0.2, 5.0), (0.7, 1.5), physical=True),
    Factor("mass2", "kg", 1.0, (0.2, 5.0), (0.7, 1.5), physical=True),
    Factor("gravity", "m/s^2", 9.81, (0.0, 15.0), (8.0, 12.0), physical=True),
    Factor("rod_colour", "RGB", (110.0, 110.0, 110.0), (0, 255), (60, 160)),
    Factor("background_colour", "RGB", (0.0, 0.0, 0.0), (0, 255), (0, 50)),
)

KEYS: dict[str, tuple[float, ...]] = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, 1.0),
    "down": (0.0, -1.0),
}


class DoublePendulum(World):
    """Two 1 kg points on two massless 1 m rods, hung from a frictionless pivot, g = 9.81 m/s^2, no damping.

    * Observation: RGB uint8 ``(N, N, 3)``, N the ``frame_size``: on black, grey rods, a red bob 1 (the elbow) and a
      blue bob 2. The pivot is at ((N - 1) / 2, (N - 1) / 2), gravity points down, 1 m is (N / 2 - 1) / 2.2 pixels: 14.1
      at N = 64. Neither bob is ever hidden, as each is 1 m from what it hangs on, so one frame shows both angles; it
      does not show the velocities.
    * State, float32 ``(4,)``: ``theta1``, ``theta2`` (rad, in [-pi, pi], each rod's own angle from the downward
      vertical, counter-clockwise positive), ``omega1``, ``omega2`` (rad/s, their rates). It is complete: with the
      torques it determines the future. A store keeps it beside every frame, so that one store serves models of
      pixels and models of coordinates.
    * Action: none, ``Box`` of shape (0,); with ``torque``, float32 ``(2,)`` in [-1, 1], clipped, times 2 N m, held for
      a step: the pivot's on rod 1, and the elbow's on rod 2 and back on rod 1. It never terminates.
    * Reward: 0; with ``torque``, ``tasks.earned`` of the new moment, which says how far the rods are from upright at
      rest and how much energy they lack.
    * Dynamics: ``physics.accelerations``, integrated in 20 Runge-Kutta steps of 2.5 ms to a step of 50 ms.
    * Start: uniform, angles in (-pi, pi), velocities in (-1, 1) rad/s. Episodes so differ in energy, and the calm ones
      are not chaotic. ``reset(options={"state": (theta1, theta2, omega1, omega2)})`` starts there instead.
    * Option ``torque``: whether there are actions; ``factory drive`` then has keys, left and right for the pivot
      (right is counter-clockwise), up and down for the elbow.
    * Options ``factors``, ``vary``: values of ``FACTORS`` by name, and those to sample per episode. Lyapunov
      exponents of ``lyapunov`` are of the plain pendulum.

    Raises ``TinyJEPAError`` for a ``frame_size`` below 8, an unknown ``render_mode``, or a start whose numbers are not
    four or not finite. On its chaos: Shinbrot, Grebogi, Wisdom and Yorke, American Journal of Physics 60 (1992).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium declares it per instance
    state_names = ("theta1", "theta2", "omega1", "omega2")
    angles: ClassVar[tuple[str, ...]] = ("theta1", "theta2")
    default_recipe: ClassVar[str] = "double-pendulum"
    control_rate = 1 / (SUBSTEPS * SUBSTEP)
    max_episode_steps = 200
    default_policy: ClassVar[str] = "mixed"
    violations: ClassVar[tuple[Violation, ...]] = VIOLATIONS
    factors: ClassVar[tuple[Factor, ...]] = FACTORS
    tasks: ClassVar[Mapping[str, Task]] = TASKS
    maps: ClassVar[tuple[tuple[str, str], ...]] = (("theta1", "omega1"), ("theta2", "omega2"), ("theta1", "theta2"))

    @classmethod
    def axes(cls, frame_size: int) -> tuple[Axis, ...]:
        turning = even("omega1", "rad/s", -10, 10, 8), even("omega2", "rad/s", -16, 16, 8)
        return around("theta1", 8), around("theta2", 8), *turning

    rods: tuple[float, float]
    """lengths of both, m"""
    gravity: float
    """m/s^2"""
    bodies: Bodies
    """of the episode's lengths, masses and gravity"""
    motion: State
    """theta1, theta2 (rad, not wrapped), omega1, omega2 (rad/s)"""

    def __init__(
        self,
        frame_size: int = 64,
        torque: bool = False,
        render_mode: str | None = None,
        factors: Mapping[str, Any] | None = None,
        vary: Sequence[str] = (),
    ) -> None:
        self.choose(factors, vary)
        self._apply_factors()
        if frame_size < 8:
            raise TinyJEPAError(f"DoublePendulum: frame_size is {frame_size}; it must be at least 8 pixels")
        if render_mode not in (None, "rgb_array"):
            raise TinyJEPAError(f"DoublePendulum: unknown render_mode '{render_mode}'. Choices: rgb_array")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (frame_size, frame_size, 3), np.uint8)
        self.action_space = spaces.Box(-1, 1, (2 if torque else 0,), np.float32)
        if torque:
            self.keys = KEYS  # type: ignore[misc]  # without torques nobody can drive
        self.size = frame_size
        self.torque = torque

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._apply_factors()
        start = self.np_random.uniform(-START, START)
        if options and "state" in options:
            start = np.array(options["state"], np.float64)
            if start.shape != (4,) or not np.isfinite(start).all():
                raise TinyJEPAError(f"DoublePendulum: a start is four finite numbers, not {options['state']!r}")
        self.motion = (*start.tolist(),)
        return self.frame(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        torques = (0.0, 0.0)
        if self.torque:
            pivot, elbow = (MAX_TORQUE * min(max(float(part), -1.0), 1.0) for part in action)
            torques = pivot, elbow
        self.motion = advance(self.motion, SUBSTEPS, torques, of=self.bodies)
        return self.frame(), earned(self.motion, self.bodies) if self.torque else 0.0, False, False, {}

    def state(self) -> np.ndarray:
        theta1, theta2, omega1, omega2 = self.motion
        wrapped = math.remainder(theta1, math.tau), math.remainder(theta2, math.tau)
        return np.array([*wrapped, omega1, omega2], np.float32)

    def next_states(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        torques = MAX_TORQUE * np.clip(actions, -1.0, 1.0) if self.torque else np.zeros((len(states), 2))
        motion = advance((*states.T,), SUBSTEPS, (torques[:, 0], torques[:, 1]), np.sin, np.cos, self.bodies)
        return np.stack([*(np.remainder(angle + np.pi, 2 * np.pi) - np.pi for angle in motion[:2]), *motion[2:]], 1)

    def render(self) -> np.ndarray | None:
        """The frame at a higher resolution: RGB uint8 ``(480, 480, 3)``; None without ``render_mode``."""
        return None if self.render_mode is None else self._picture(PICTURE_SIDE)

    def joints(self, rods: tuple[float, float] | None = None) -> list[Place]:
        """Where the pivot, bob 1 and bob 2 are, with rods of these lengths (m), by default their own."""
        places = [(0.0, 0.0)]
        for angle, rod in zip(self.motion[:2], rods or self.rods):
            x, y = places[-1]
            places.append((x + rod * math.sin(angle), y + rod * math.cos(angle)))
        return places

    def frame(self) -> np.ndarray:
        return self._picture(self.size)

    def _apply_factors(self) -> None:
        rod1, rod2, mass1, mass2, gravity = (
            number(self.factor_values[name]) for name in ("length1", "length2", "mass1", "mass2", "gravity")
        )
        self.rods, self.gravity = (rod1, rod2), gravity
        self.bodies = bodies(rod1, rod2, mass1, mass2, gravity)
        self._rod_colour, self._background = (
            _rgb(self.factor_values[name]) for name in ("rod_colour", "background_colour")
        )

    def paint(self, rods: Sequence[tuple[Place, Place]], bobs: Sequence[tuple[Place, Colour]], size: int) -> np.ndarray:
        """These rods and bobs in the episode's colours: uint8 ``(size, size, 3)``."""
        return paint(size, rods, bobs, self._rod_colour, self._background)

    def _picture(self, size: int) -> np.ndarray:
        joints = self.joints()
        return self.paint(list(itertools.pairwise(joints)), list(zip(joints[1:], BOB_COLOURS)), size)


def _rgb(value: Value) -> Colour:
    assert isinstance(value, tuple)
    red, green, blue = (round(part) for part in value)
    return red, green, blue


def paint(
    size: int,
    rods: Sequence[tuple[Place, Place]],
    bobs: Sequence[tuple[Place, Colour]],
    rod_colour: Colour = ROD_COLOUR,
    background: Colour = (0, 0, 0),
) -> np.ndarray:
    """Rods from place to place, then bobs of a place and an RGB colour: uint8 ``(size, size, 3)``."""
    unit = 1 << FRACTION_BITS
    metre = unit * (size / 2 - 1) / HALF_WIDTH
    middle = unit * (size - 1) / 2

    def at(place: Place) -> tuple[int, int]:
        return round(middle + metre * place[0]), round(middle + metre * place[1])

    frame = np.zeros((size, size, 3), np.uint8)
    if any(background):
        frame[:] = background
    for above, below in rods:
        cv2.line(frame, at(above), at(below), rod_colour, max(1, round(size / 64)), cv2.LINE_AA, FRACTION_BITS)
    for place, colour in bobs:
        cv2.circle(frame, at(place), round(BOB_RADIUS * metre), colour, -1, cv2.LINE_AA, FRACTION_BITS)
    return frame
