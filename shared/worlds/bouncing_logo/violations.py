"""Violations of the bouncing logo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.worlds.violations import Act, Ride, Violation, double_speed, frozen

if TYPE_CHECKING:
    from shared.worlds.bouncing_logo.world import BouncingLogo as Logo

LONGEST = 60
"""Number of steps of an episode that are searched for moments."""

NOBODY = np.zeros(0, np.float32)


def anywhere(ride: Ride) -> Iterator[Act]:
    """Any moment."""
    yield from _moments(ride, 0)


def before_a_border(ride: Ride) -> Iterator[Act]:
    """The logo bounces in the first half of what follows."""
    yield from _moments(ride, 1, last=max(ride.after // 2, 1))


def far_from_borders(ride: Ride) -> Iterator[Act]:
    """The logo touches no border and does not bounce in all that follows."""
    yield from _moments(ride, ride.after + 1, clearance=0.15)


def _moments(ride: Ride, first: int, last: float = np.inf, clearance: float = 0.0) -> Iterator[Act]:
    """Moments whose next bounce, counted in steps, is between ``first`` and ``last``.

    ``clearance``: of the logo from where it bounces, at the moment, in sides of the box.
    """
    for _ in range(int(ride.rng.integers(1, 8)) + ride.before):
        ride.step(NOBODY)
    while len(ride.frames) + ride.after < LONGEST:
        world: Logo = ride.world
        clear = np.minimum(world.position - world.low, world.high - world.position).min() >= clearance * _side(world)
        if clear and first <= _next_bounce(world.fork(), ride.after) <= last:
            yield lambda: NOBODY
        ride.step(NOBODY)


def _side(world: Logo) -> float:
    """Of the box, pixels."""
    return world.high - world.low + 3


def _next_bounce(world: Logo, steps: int) -> int:
    velocity = world.velocity.copy()
    for number in range(1, steps + 1):
        world.step(NOBODY)
        if (world.velocity != velocity).any():
            return number
    return steps + 1


def leaves_the_box(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for _ in actions:
        world.position = world.position + world.velocity
        yield world.frame()


def sticks_to_the_border(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for _ in actions:
        world.position = world.position + world.velocity
        hit = (world.position < world.low) | (world.position > world.high)
        world.velocity = np.zeros(2) if hit.any() else world.velocity
        world.position = np.clip(world.position, world.low, world.high)
        yield world.frame()


def bounces_in_mid_air(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    world.velocity = -world.velocity
    for action in actions:
        yield world.step(action)[0]


def turns_aside(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    world.velocity[int(rng.integers(2))] = 0.0
    for action in actions:
        yield world.step(action)[0]


def vanishes(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for action in actions:
        world.step(action)
        yield world.picture([])


def doubles(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The second one is the first's mirror image in the middle of the box, or beside it where that is too near."""
    for action in actions:
        world.step(action)
        other = world.size - 1 - world.position
        if np.abs(other - world.position).max() < _side(world) / 4:
            other = world.position + (_side(world) / 3) * np.array([1.0, -1.0])
        yield world.picture([world.position, other])


def grows(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for action in actions:
        world.step(action)
        yield world.picture([world.position], across=2.0, down=2.0)


def changes_shape(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """It becomes a bar."""
    across, down = (2.2, 0.6) if rng.random() < 0.5 else (0.6, 2.2)
    for action in actions:
        world.step(action)
        yield world.picture([world.position], across=across, down=down)


def dims(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for action in actions:
        world.step(action)
        yield world.picture([world.position], peak=110)


def jumps(world: Logo, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """To a place more than a third of the box away."""
    start = world.position
    while np.hypot(*(world.position - start)) < _side(world) / 3:
        world.position = rng.uniform(world.low + 1, world.high - 1, 2)
    for action in actions:
        yield world.step(action)[0]


VIOLATIONS = (
    Violation("vanishes", "permanence", "the logo is gone", vanishes, anywhere),
    Violation("doubles", "permanence", "a second logo appears", doubles, anywhere),
    Violation("grows", "immutability", "the logo is twice as large", grows, anywhere),
    Violation("changes-shape", "immutability", "the round logo becomes a bar", changes_shape, anywhere),
    Violation("dims", "immutability", "the logo loses more than half of its brightness", dims, anywhere),
    Violation("jumps", "continuity", "the logo is suddenly elsewhere", jumps, anywhere),
    Violation(
        "leaves-the-box", "solidity", "the logo passes through the border", leaves_the_box, before_a_border, False
    ),
    Violation(
        "sticks-to-the-border", "inertia", "the logo stops at the border", sticks_to_the_border, before_a_border, False
    ),
    Violation(
        "bounces-in-mid-air", "inertia", "the logo turns back where nothing is", bounces_in_mid_air, far_from_borders
    ),
    Violation("turns-aside", "inertia", "the logo turns by 45 degrees where nothing is", turns_aside, far_from_borders),
    Violation("stops", "inertia", "the logo stands still in mid air", frozen, far_from_borders),
    Violation("doubles-its-speed", "inertia", "the logo is twice as fast", double_speed, anywhere),
)
