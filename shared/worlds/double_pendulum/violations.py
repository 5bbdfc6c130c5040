"""Violations of the double pendulum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.worlds.violations import Act, Ride, Violation, double_speed, frozen, half_speed

if TYPE_CHECKING:
    from shared.worlds.double_pendulum.world import DoublePendulum as Pendulum

FAST = 3.0
"""rad/s: sum of both speeds from which a change of the motion is seen at once."""

LONGEST = 200
HOLD = 10
"""Steps a random torque is held."""


def swinging(ride: Ride) -> Iterator[Act]:
    """The pendulum is in quick motion."""
    act = _hands(ride)
    for _ in range(ride.before + int(ride.rng.integers(1, 40))):
        ride.step(act())
    while len(ride.frames) + ride.after < LONGEST:
        if abs(ride.world.motion[2]) + abs(ride.world.motion[3]) > FAST:
            yield act
        for _ in range(int(ride.rng.integers(10, 40))):
            ride.step(act())


def _hands(ride: Ride) -> Act:
    """Random torques where there are motors, else no action."""
    space, rng = ride.world.action_space, ride.rng
    held: list[np.ndarray] = []

    def act() -> np.ndarray:
        if not held:
            held.extend([rng.uniform(space.low, space.high).astype(np.float32)] * HOLD)
        return held.pop()

    return act


def _kicked(first: float, second: float) -> Callable[[Any, Iterable[Any], np.random.Generator], Iterator[np.ndarray]]:
    """Both speeds are multiplied at the moment, and the laws hold from there on."""

    def make(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        theta1, theta2, omega1, omega2 = world.motion
        world.motion = theta1, theta2, first * omega1, second * omega2
        for action in actions:
            yield world.step(action)[0]

    return make


def falls_upwards(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Gravity points up: the same equations half a turn on."""
    for action in actions:
        theta1, theta2, omega1, omega2 = world.motion
        world.motion = theta1 + math.pi, theta2 + math.pi, omega1, omega2
        world.step(action)
        theta1, theta2, omega1, omega2 = world.motion
        world.motion = theta1 - math.pi, theta2 - math.pi, omega1, omega2
        yield world.frame()


def turns_on_freely(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Each rod at its constant rate, as though there were neither gravity nor another rod."""
    step = 1 / world.control_rate
    for _ in actions:
        theta1, theta2, omega1, omega2 = world.motion
        world.motion = theta1 + step * omega1, theta2 + step * omega2, omega1, omega2
        yield world.frame()


def swings_on_a_slope(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Gravity points sideways."""
    turn = math.copysign(math.pi / 2, rng.random() - 0.5)
    for action in actions:
        theta1, theta2, omega1, omega2 = world.motion
        world.motion = theta1 + turn, theta2 + turn, omega1, omega2
        world.step(action)
        theta1, theta2, omega1, omega2 = world.motion
        world.motion = theta1 - turn, theta2 - turn, omega1, omega2
        yield world.frame()


def joint_breaks(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Bob 2 flies off with its rod; rod 1 swings on alone."""
    from shared.worlds.double_pendulum.world import BOB_COLOURS

    theta1, theta2, omega1, omega2 = world.motion
    (upper, lower), gravity = world.rods, world.gravity
    _, elbow, (x, y) = world.joints()
    vx = upper * omega1 * math.cos(theta1) + lower * omega2 * math.cos(theta2)
    vy = -upper * omega1 * math.sin(theta1) - lower * omega2 * math.sin(theta2)
    fine = 20
    step = 1 / world.control_rate / fine
    for _ in actions:
        for _ in range(fine):
            omega1 -= step * gravity / upper * math.sin(theta1)
            theta1 += step * omega1
            theta2 += step * omega2
            vy += step * gravity
            x, y = x + step * vx, y + step * vy
        world.motion = theta1, theta2, omega1, omega2
        pivot, elbow, _ = world.joints()
        left = 0.6 * lower
        end = x - math.sin(theta2) * left, y - math.cos(theta2) * left
        bobs = [(elbow, BOB_COLOURS[0]), ((x, y), BOB_COLOURS[1])]
        yield world.paint([(pivot, elbow), (end, (x, y))], bobs, world.size)


def _rods(first: float, second: float) -> Callable[[Any, Iterable[Any], np.random.Generator], Iterator[np.ndarray]]:
    """The same angles, drawn with rods of so many times their lengths."""

    def make(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        from shared.worlds.double_pendulum.world import BOB_COLOURS

        for action in actions:
            world.step(action)
            pivot, elbow, tip = world.joints((first * world.rods[0], second * world.rods[1]))
            yield world.paint([(pivot, elbow), (elbow, tip)], list(zip((elbow, tip), BOB_COLOURS)), world.size)

    return make


def _bobs(*shown: tuple[int, int]) -> Callable[[Any, Iterable[Any], np.random.Generator], Iterator[np.ndarray]]:
    """Only these bobs are drawn: (whose place, whose colour), 0 or 1; place 2 is bob 2's mirror image."""

    def make(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        from shared.worlds.double_pendulum.world import BOB_COLOURS

        for action in actions:
            world.step(action)
            pivot, elbow, tip = world.joints()
            places = elbow, tip, (-tip[0], -tip[1])
            bobs = [(places[place], BOB_COLOURS[colour]) for place, colour in shown]
            yield world.paint([(pivot, elbow), (elbow, tip)], bobs, world.size)

    return make


def jumps(world: Pendulum, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Both rods are turned by 0.8 rad at once."""
    theta1, theta2, omega1, omega2 = world.motion
    turn = math.copysign(0.8, rng.random() - 0.5)
    world.motion = theta1 + turn, theta2 + turn, omega1, omega2
    for action in actions:
        yield world.step(action)[0]


VIOLATIONS = (
    Violation("bob-vanishes", "permanence", "the lower bob is gone", _bobs((0, 0)), swinging),
    Violation("bob-doubles", "permanence", "a third bob appears", _bobs((0, 0), (1, 1), (2, 1)), swinging),
    Violation("colours-swap", "immutability", "the bobs exchange their colours", _bobs((0, 1), (1, 0)), swinging),
    Violation("rod-shrinks", "immutability", "the lower rod is half as long", _rods(1.0, 0.5), swinging),
    Violation("rod-grows", "immutability", "the upper rod is a third longer", _rods(1.35, 1.0), swinging),
    Violation("jumps", "continuity", "both rods are suddenly elsewhere", jumps, swinging),
    Violation("joint-breaks", "permanence", "the lower rod comes off and flies away", joint_breaks, swinging),
    Violation("energy-gained", "inertia", "the speeds double without cause", _kicked(2.0, 2.0), swinging),
    Violation("energy-lost", "inertia", "nearly all speed is gone at once", _kicked(0.1, 0.1), swinging),
    Violation("turns-back", "inertia", "the motion is reversed without cause", _kicked(-1.0, -1.0), swinging),
    Violation("falls-upwards", "inertia", "gravity points up", falls_upwards, swinging),
    Violation("falls-sideways", "inertia", "gravity points sideways", swings_on_a_slope, swinging),
    Violation("turns-on-freely", "inertia", "rods turn as if nothing pulled", turns_on_freely, swinging),
    Violation("freezes", "inertia", "the pendulum stands still in mid-swing", frozen, swinging),
    Violation("double-speed", "inertia", "time runs at double speed", double_speed, swinging),
    Violation("half-speed", "inertia", "time runs at half speed", half_speed, swinging),
)
