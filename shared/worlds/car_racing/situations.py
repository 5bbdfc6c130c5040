"""Situations of CarRacing that violations need: driving, braking, turning."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shared.worlds.violations import Act, Ride

if TYPE_CHECKING:
    from shared.worlds.car_racing.world import CarRacing

FULL_LOCK, WHEELBASE = 0.4, 3.24
"""Wheel angle of full steering, rad; distance of the axles, units."""
GRIP = 45.0
"""Lateral acceleration that the driver allows, units/s^2."""
SPACING = 3.5
"""Units between two points of the centre line."""
LOOKS = 32
"""Times that a moment is looked for in one episode."""


class Driver:
    """Follows the centre line at a speed and offset of its own, a little unsteadily."""

    def __init__(self, world: CarRacing, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self.cruise = rng.uniform(18.0, 45.0)
        self._offset, self._noise = rng.uniform(-2.5, 2.5), 0.0

    def act(self, frame: np.ndarray | None = None, state: np.ndarray | None = None) -> np.ndarray:
        """(steer, gas, brake); it looks at the world itself."""
        world, rng = self._world, self._rng
        car = world.car
        assert car is not None
        xy, near = world.line.xy, world.line.nearest
        speed = car.cos * car.vy - car.sin * car.vx
        ahead = near + max(2, round((5 + 0.25 * max(speed, 0)) / SPACING))
        x, y = xy[ahead % len(xy)]
        beta = world.track[ahead % len(xy)][1]
        to_x = x - self._offset * math.cos(beta) - car.x
        to_y = y - self._offset * math.sin(beta) - car.y
        reach = math.hypot(to_x, to_y)
        left = (-car.cos * to_x - car.sin * to_y) / reach
        wheel = math.atan(2 * WHEELBASE * left / reach)
        self._noise = 0.9 * self._noise + 0.05 * rng.standard_normal()
        steer = min(max(-wheel / FULL_LOCK + self._noise, -1.0), 1.0)
        target = min(self.cruise, math.sqrt(GRIP / max(bend(world, 10) / (10 * SPACING), 1e-3)))
        gas = min(max(0.15 * (target - speed), 0.0), 1.0 - 0.6 * abs(steer))
        brake = min(max(0.05 * (speed - target - 1.0), 0.0), 0.8)
        return np.array((steer, gas, brake), np.float32)


def bend(world: CarRacing, points: int) -> float:
    """By how much the track turns over the next ``points``, rad, at most anywhere on the way."""
    betas = [world.track[(world.line.nearest + i) % len(world.track)][1] for i in range(points + 1)]
    turned = np.cumsum([math.remainder(after - before, math.tau) for before, after in itertools.pairwise(betas)])
    return float(np.abs(turned).max())


def speed(world: CarRacing) -> float:
    """units/s"""
    assert world.car is not None
    return math.hypot(world.car.vx, world.car.vy)


def driving(ride: Ride) -> Iterator[Act]:
    """The car drives along the road."""
    driver = Driver(ride.world, ride.rng)
    _drive(ride, driver, int(ride.rng.integers(60, 110)))
    for _ in range(LOOKS):
        if speed(ride.world) > 10:
            yield driver.act
        _drive(ride, driver, int(ride.rng.integers(30, 60)))


def before_a_bend(ride: Ride) -> Iterator[Act]:
    """The road turns by more than 0.5 rad within sight."""
    driver = Driver(ride.world, ride.rng)
    _drive(ride, driver, 60)
    for _ in range(LOOKS):
        if bend(ride.world, 9) > 0.5 and speed(ride.world) > 10:
            yield driver.act
            _drive(ride, driver, 20)
        _drive(ride, driver, 10)


def braking(ride: Ride) -> Iterator[Act]:
    """The car is fast, and brakes hard from here on."""
    driver = Driver(ride.world, ride.rng)
    driver.cruise = ride.rng.uniform(25.0, 50.0)
    _drive(ride, driver, 90)
    for _ in range(LOOKS):
        if speed(ride.world) > 22:
            yield lambda: np.array((0.0, 0.0, 0.8), np.float32)
            _drive(ride, driver, 40)
        _drive(ride, driver, 10)


def turning(ride: Ride) -> Iterator[Act]:
    """The car rolls at a moderate speed; from here on the wheel is turned fully to one side."""
    driver = Driver(ride.world, ride.rng)
    driver.cruise = ride.rng.uniform(15.0, 28.0)
    _drive(ride, driver, int(ride.rng.integers(60, 110)))
    for _ in range(LOOKS):
        if 12 < speed(ride.world) < 30:
            action = np.array((1.0 if ride.rng.random() < 0.5 else -1.0, 0.1, 0.0), np.float32)
            yield partial(np.copy, action)
            _drive(ride, driver, 60)
        _drive(ride, driver, 20)


def _drive(ride: Ride, driver: Driver, steps: int) -> None:
    for left in range(steps, 0, -1):
        ride.step(driver.act(), drawn=left <= ride.before + 1)
