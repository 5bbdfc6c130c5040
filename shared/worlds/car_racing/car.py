"""gymnasium's car, stepped in plain floats: the same numbers, bit for bit, at a fraction of the cost."""

from __future__ import annotations

import math
from typing import Any

from gymnasium.envs.box2d import car_dynamics
from gymnasium.envs.box2d.car_dynamics import ENGINE_POWER, FRICTION_LIMIT, SIZE, WHEEL_MOMENT_OF_INERTIA, WHEEL_R
from gymnasium.envs.box2d.car_racing import FPS

DT = 1.0 / FPS
POWER = DT * ENGINE_POWER
STIFFNESS = 205000 * SIZE * SIZE
GRASS_FRICTION = FRICTION_LIMIT * 0.6
WHEEL_RADIUS = WHEEL_R * SIZE
BRAKE_FORCE = 15


class Car(car_dynamics.Car):
    """Bodies and joints as gymnasium builds them; ``drive`` replaces ``gas``, ``brake``, ``steer`` and ``step``.

    Lists over the four wheels (front left, front right, rear left, rear right): ``omega`` (rad/s), ``phase`` (rad),
    ``tiles`` (road tiles touched; kept by the contact listener), ``angle`` (joint angle of the last ``read``, rad).
    The hull's pose and velocity after ``read``: ``x``, ``y`` (units), ``sin``, ``cos`` of its angle, ``vx``, ``vy``
    (units/s). With ``leave_skids`` the skid marks that gymnasium's ``render`` shows are recorded too.
    """

    def __init__(self, world: Any, angle: float, x: float, y: float, tiles: list[int], leave_skids: bool) -> None:
        super().__init__(world, angle, x, y)
        self.leave_skids = leave_skids
        self.throttle = 0.0
        self.friction = 1.0
        self.omega = [0.0] * 4
        self.phase = [0.0] * 4
        self.tiles = tiles
        self.angle = [0.0] * 4
        # gymnasium's tiles notice all of the hull, only to change colour: the bumper that comes first is enough.
        for fixture in self.hull.fixtures[:-1]:
            unnoticed = fixture.filterData
            unnoticed.maskBits = 0
            fixture.filterData = unnoticed
        # Box2D hands out references to its own memory: taken once, they show the current values for ever.
        self._parts = [(w, w.joint, w.transform.q, w.linearVelocity) for w in self.wheels]
        self._position = self.hull.position
        self._rotation = self.hull.transform.q
        self._velocity = self.hull.linearVelocity
        self.read()

    def drive(self, steer: float, gas: float, brake: float) -> None:
        """One time step of steering, engine, brakes and tyres: sets joint motors and applies tyre forces.

        ``steer`` in [-1, 1] is gymnasium's (left positive), ``gas`` is clipped to [0, 1], ``brake`` in [0, 1]
        blocks the wheels from 0.9 on.
        """
        rise = (0.0 if gas < 0.0 else 1.0 if gas > 1.0 else gas) - self.throttle
        self.throttle += 0.1 if rise > 0.1 else rise
        engine = POWER * self.throttle / WHEEL_MOMENT_OF_INERTIA
        omegas, phases, tiles, angles = self.omega, self.phase, self.tiles, self.angle
        on_road, on_grass = FRICTION_LIMIT * self.friction, GRASS_FRICTION * self.friction
        for i, (wheel, joint, rotation, velocity) in enumerate(self._parts):
            turn = (steer if i < 2 else 0.0) - angles[i]
            speed = 50.0 * turn
            joint.motorSpeed = 3.0 if speed > 3.0 else -3.0 if speed < -3.0 else speed
            limit = on_road if tiles[i] else on_grass

            s, c, vx, vy = rotation.s, rotation.c, velocity.x, velocity.y
            omega = omegas[i]
            if i > 1:
                omega += engine / (abs(omega) + 5.0)
            if brake >= 0.9:
                omega = 0.0
            elif brake > 0:
                slower = BRAKE_FORCE * brake
                omega = 0.0 if abs(omega) <= slower else omega - math.copysign(slower, omega)
            phases[i] += omega * DT

            along = (omega * WHEEL_RADIUS - (c * vy - s * vx)) * STIFFNESS
            across = -(c * vx + s * vy) * STIFFNESS
            force = math.sqrt(along * along + across * across)
            if self.leave_skids:
                self._mark(wheel, force > 2.0 * limit, not tiles[i])
            if force > limit:
                along = along / force * limit
                across = across / force * limit
            omegas[i] = omega - DT * along * WHEEL_RADIUS / WHEEL_MOMENT_OF_INERTIA
            wheel.ApplyForceToCenter((across * c - along * s, across * s + along * c), True)

    def read(self) -> None:
        """Take over pose, velocity and joint angles from Box2D after a world step."""
        self.x, self.y = self._position.x, self._position.y
        self.sin, self.cos = self._rotation.s, self._rotation.c
        self.vx, self.vy = self._velocity.x, self._velocity.y
        self.angle = [part[1].angle for part in self._parts]

    def place(self, x: float, y: float, angle: float) -> None:
        """Move the whole car there (units, rad) as it is; its velocities turn with it."""
        x0, y0, turn = self.hull.position.x, self.hull.position.y, angle - self.hull.angle
        c, s = math.cos(turn), math.sin(turn)
        for body in (self.hull, *self.wheels):
            dx, dy = body.position.x - x0, body.position.y - y0
            vx, vy = body.linearVelocity
            body.transform = (x + c * dx - s * dy, y + s * dx + c * dy), body.angle + turn
            body.linearVelocity = c * vx - s * vy, s * vx + c * vy
        self.read()

    def become(self, other: Car) -> None:
        """Take over another car's motion: bodies, wheels and throttle."""
        for body, model in zip((self.hull, *self.wheels), (other.hull, *other.wheels)):
            body.transform = (model.position.x, model.position.y), model.angle
            body.linearVelocity = model.linearVelocity.x, model.linearVelocity.y
            body.angularVelocity = model.angularVelocity
        self.throttle, self.omega, self.phase = other.throttle, list(other.omega), list(other.phase)
        self.read()

    def publish(self) -> None:
        """Write the wheels' state to where gymnasium's drawing looks for it."""
        for wheel, omega, phase in zip(self.wheels, self.omega, self.phase):
            wheel.omega, wheel.phase = omega, phase

    def _mark(self, wheel: Any, skids: bool, grass: bool) -> None:
        """Extend, start or end the wheel's skid mark."""
        if not skids:
            wheel.skid_start = None
            wheel.skid_particle = None
            return
        mark = wheel.skid_particle
        if mark and mark.grass == grass and len(mark.poly) < 30:
            mark.poly.append((wheel.position[0], wheel.position[1]))
        elif wheel.skid_start is None:
            wheel.skid_start = wheel.position
        else:
            wheel.skid_particle = self._create_particle(wheel.skid_start, wheel.position, grass)
            wheel.skid_start = None
