"""A pure-pursuit driver for worlds with a centre line, and its noisy variants.

After a reset such a world has ``line.xy``, float ``(T, 2)``: the points of a closed track in driving order, in world
units, and ``line.nearest``: the index of the one nearest to the car. Its state names include ``x``, ``y``, ``angle``
(of the car, 0 along +y, counter-clockwise, radians), ``forward_speed`` (units/s) and ``lateral_offset`` (units).
Actions are (steer in [-1, 1], positive to the right; gas and brake in [0, 1]).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from factory.policies.base import STATE_NAMES, CentreLine
from factory.policies.noise import SmoothNoise
from shared.worlds.base import World

FULL_LOCK = 0.4
"""Wheel angle of full steering (rad), in gymnasium's CarRacing."""
WHEELBASE = 3.24
"""Distance of front and rear axle (units), in gymnasium's CarRacing."""
LOST_OFFSET = 9.0
"""Distance from the centre line (units) beyond which the car returns slowly; the road's half width is 6.7."""
LOST_HEADING = 1.0
"""Angle to the target (rad) beyond which the car is taken to have spun."""


@dataclass(frozen=True)
class Style:
    """How one episode is driven."""

    top_speed: float = 65.0
    """units/s"""
    cornering: float = 55.0
    """Lateral acceleration the speed in a curve is chosen for, units/s^2."""
    braking: float = 28.0
    """Deceleration the speed before a curve is chosen for, units/s^2."""
    lookahead: float = 0.22
    """Distance of the pursued point: 5 units and this many seconds of travel."""
    offset: float = 0.0
    """Pursued lateral offset, to the left of the centre line, units."""


class Track:
    """A closed centre line as plain floats: points, left normals and curvature, about 3.5 units apart."""

    def __init__(self, centre_line: np.ndarray) -> None:
        points = np.asarray(centre_line, float)
        forward = np.roll(points, -1, 0) - np.roll(points, 1, 0)
        heading = np.unwrap(np.arctan2(forward[:, 1], forward[:, 0]))
        span = np.hypot(*(np.roll(points, -2, 0) - np.roll(points, 2, 0)).T)
        turned = np.roll(heading, -2) - np.roll(heading, 2)
        turned = (turned + np.pi) % (2 * np.pi) - np.pi
        self.length = len(points)
        self.spacing = float(np.hypot(*(np.roll(points, -1, 0) - points).T).mean())
        self.x, self.y = points.T.tolist()
        self.left_x, self.left_y = (-np.sin(heading)).tolist(), np.cos(heading).tolist()
        self.curvature = np.abs(turned / np.maximum(span, 1e-6))

    def speeds(self, style: Style) -> list[float]:
        """The speed for every point: what its curvature allows, and what braking allows."""
        speeds = np.minimum(style.top_speed, np.sqrt(style.cornering / np.maximum(self.curvature, 1e-6))).tolist()
        slack = 2.0 * style.braking * self.spacing
        for later, earlier in pairwise([*range(self.length)[::-1], *range(self.length)[::-1]]):
            speeds[earlier] = min(speeds[earlier], math.sqrt(speeds[later] ** 2 + slack))
        return list(speeds)


class Pursuit:
    """Pure pursuit (Coulter, 1992) of the centre line at a curvature-dependent speed.

    A car that has spun or left the road creeps back to the nearest stretch of it.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._line: CentreLine = world.line  # type: ignore[attr-defined]
        self._track = Track(self._line.xy)
        self._columns = [world.state_names.index(name) for name in STATE_NAMES]
        self._rng = rng
        self._rate = world.control_rate
        self._style = self.style(rng)
        self._speeds = self._track.speeds(self._style)

    def style(self, rng: np.random.Generator) -> Style:
        return Style()

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        return np.array(self.drive(state, self._style.offset), np.float32)

    def drive(self, state: np.ndarray, offset: float) -> tuple[float, float, float]:
        """(steer, gas, brake) towards the point ahead that lies ``offset`` units left of the centre line."""
        track, style = self._track, self._style
        values = state.tolist()
        x, y, angle, speed, strayed = [values[column] for column in self._columns]
        near = self._line.nearest
        distance = 5.0 + style.lookahead * max(speed, 0.0)
        ahead = (near + max(2, round(distance / track.spacing))) % track.length
        to_x = track.x[ahead] + offset * track.left_x[ahead] - x
        to_y = track.y[ahead] + offset * track.left_y[ahead] - y
        reach = math.hypot(to_x, to_y)
        sine, cosine = math.sin(angle), math.cos(angle)
        forward, left = (-sine * to_x + cosine * to_y) / reach, (-cosine * to_x - sine * to_y) / reach
        bearing = math.atan2(left, forward)
        wheel = math.atan(2.0 * WHEELBASE * left / reach) if forward > 0 else math.copysign(FULL_LOCK, left)
        steer = min(max(-wheel / FULL_LOCK, -1.0), 1.0)

        target = self._speeds[(near + 1) % track.length]
        if abs(strayed) > LOST_OFFSET + abs(offset) or abs(bearing) > LOST_HEADING:
            target = min(target, 20.0 if abs(bearing) < LOST_HEADING else 7.0)
        gas = min(max(0.15 * (target - speed), 0.0), 1.0 - 0.6 * abs(steer))
        brake = min(max(0.05 * (speed - target - 1.0), 0.0), 0.8)
        return steer, gas, brake


class PursuitNoise(Pursuit):
    """Pursuit of a randomised style, with Ornstein-Uhlenbeck noise on steering, gas and brake."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        super().__init__(world, rng)
        self._noise = SmoothNoise(3, float(rng.uniform(0.1, 0.6)), self._rate, rng)
        self._steer_noise = float(rng.uniform(0.05, 0.35))
        self._pedal_noise = float(rng.uniform(0.05, 0.3))

    def style(self, rng: np.random.Generator) -> Style:
        return _random_style(rng)

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        steer, gas, brake = self.drive(state, self._style.offset)
        turn, more_gas, more_brake = self._noise.next()
        steer = min(max(steer + self._steer_noise * turn, -1.0), 1.0)
        gas = min(max(gas + self._pedal_noise * more_gas, 0.0), 1.0)
        brake = min(max(brake + self._pedal_noise * (more_brake - 1.0), 0.0), 1.0)
        return np.array((steer, gas, brake), np.float32)


class PursuitWander(Pursuit):
    """Pursuit of a randomised style whose lateral target wanders over the road and its edges."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        super().__init__(world, rng)
        self._noise = SmoothNoise(1, float(rng.uniform(0.5, 2.0)), self._rate, rng)
        self._width = float(rng.uniform(1.5, 5.0))

    def style(self, rng: np.random.Generator) -> Style:
        return _random_style(rng)

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        (wander,) = self._noise.next()
        return np.array(self.drive(state, self._style.offset + self._width * wander), np.float32)


class PursuitBursts(Pursuit):
    """Pursuit of a randomised style, broken by 0.2 to 0.7 s of one random action, then recovery.

    Bursts start 1 to 4 s after the last one ended.
    """

    QUIET: ClassVar[tuple[float, float]] = (1.0, 4.0)
    LASTING: ClassVar[tuple[float, float]] = (0.2, 0.7)
    """Range of seconds before an interruption, and of its length."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        super().__init__(world, rng)
        self._quiet = self._steps(self.QUIET)
        self._left = 0
        self._held = np.zeros(3, np.float32)

    def style(self, rng: np.random.Generator) -> Style:
        return _random_style(rng)

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        if self._left == 0 and self._quiet == 0:
            self._left = self._steps(self.LASTING)
            self._quiet = self._steps(self.QUIET)
            self._held = np.array(self.interruption(state), np.float32)
        if self._left:
            self._left -= 1
            return self._held
        self._quiet -= 1
        return np.array(self.drive(state, self._style.offset), np.float32)

    def interruption(self, state: np.ndarray) -> tuple[float, float, float]:
        """The action that is held: (steer, gas, brake)."""
        steer, gas, brake = self._rng.uniform((-1.0, 0.0, -1.0), (1.0, 1.0, 0.8)).tolist()
        return steer, gas, max(brake, 0.0)

    def _steps(self, seconds: tuple[float, float]) -> int:
        return max(1, round(self._rng.uniform(*seconds) * self._rate))


class PursuitManoeuvres(PursuitBursts):
    """Pursuit of a randomised style, broken by 0.4 to 1.2 s of one manoeuvre, then recovery.

    Braking hard, turning the wheel far to one side, full gas, or rolling without pedals: each as likely, the wheel
    straight or as it was. They start 0.5 to 2.5 s after the last one ended, so that what pedals and wheel do alone is
    seen at every speed.
    """

    QUIET = (0.5, 2.5)
    LASTING = (0.4, 1.2)

    def interruption(self, state: np.ndarray) -> tuple[float, float, float]:
        rng = self._rng
        wheel = self.drive(state, self._style.offset)[0] if rng.random() < 0.5 else 0.0
        kind = rng.integers(4)
        if kind == 0:
            return wheel, 0.0, float(rng.uniform(0.5, 1.0))
        if kind == 1:
            return float(rng.choice((-1.0, 1.0)) * rng.uniform(0.6, 1.0)), float(rng.uniform(0.0, 0.3)), 0.0
        return wheel, float(kind == 2), 0.0


class PursuitRace(PursuitBursts):
    """Pursuit at nearly the highest speed that the car holds, broken by 0.1 to 0.3 s of one random action.

    They start 3 to 10 s after the last one ended: rarely enough for most laps to be fast, often enough to show how a
    slide at speed is caught.
    """

    QUIET = (3.0, 10.0)
    LASTING = (0.1, 0.3)

    def style(self, rng: np.random.Generator) -> Style:
        return Style(
            top_speed=float(rng.uniform(75.0, 90.0)),
            cornering=float(rng.uniform(65.0, 90.0)),
            braking=float(rng.uniform(28.0, 35.0)),
            lookahead=float(rng.uniform(0.2, 0.26)),
            offset=float(rng.uniform(-1.0, 1.0)),
        )


def _random_style(rng: np.random.Generator) -> Style:
    return Style(
        top_speed=float(rng.uniform(20.0, 70.0)),
        cornering=float(rng.uniform(25.0, 60.0)),
        lookahead=float(rng.uniform(0.12, 0.35)),
        offset=float(rng.uniform(-2.5, 2.5)),
    )
