"""What cannot happen in two rooms: to the dot, the wall, the door, and what an action does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.worlds.two_room.geometry import HIGH, LOW
from shared.worlds.violations import Act, Ride, Violation, double_speed, frozen

if TYPE_CHECKING:
    from shared.worlds.two_room.world import TwoRoom

MARGIN = 6.0
"""Pixels that the dot keeps from walls where none is to matter: its picture touches nothing."""

NOWHERE = -1000.0
"""The place of a door that is not there."""


def walking(ride: Ride) -> Iterator[Act]:
    """The dot walks straight in a room; no wall is in its way."""
    world, rng = ride.world, ride.rng
    room = _room(world, rng)
    speed = rng.uniform(0.6, 1.6)
    for _ in range(1000):
        heading = rng.uniform(-math.pi, math.pi)
        step = np.array([speed * math.cos(heading), speed * math.sin(heading)])
        low, high = np.array([room[0], LOW]) + MARGIN, np.array([room[1], HIGH]) - MARGIN
        start = rng.uniform(np.minimum(low, high), np.maximum(low, high))
        way = start + step * np.array([[-ride.before], [ride.after]])
        if (way > low - MARGIN / 2).all() and (way < high + MARGIN / 2).all():
            yield from _walk(ride, start, step)
            return


def at_the_wall(ride: Ride) -> Iterator[Act]:
    """The dot is 1.6 to 3 pixels from the middle wall, not at its door, and walks straight into it."""
    world, rng = ride.world, ride.rng
    way = 1.0 if rng.random() < 0.5 else -1.0
    y = _beside_the_door(world, rng)
    start = np.array([world.wall - way * (world.half.wall + rng.uniform(1.6, 3.0)), y])
    yield from _walk(ride, start, np.array([way * rng.uniform(0.8, 1.6), 0.0]))


def at_the_border(ride: Ride) -> Iterator[Act]:
    """The dot is 1.6 to 3 pixels from an outer wall and walks straight into it."""
    world, rng = ride.world, ride.rng
    way = 1.0 if rng.random() < 0.5 else -1.0
    edge = (HIGH if way > 0 else LOW) - way * rng.uniform(1.6, 3.0)
    speed = way * rng.uniform(0.6, 1.0)
    if rng.random() < 0.5:
        yield from _walk(ride, np.array([edge, rng.uniform(LOW + MARGIN, HIGH - MARGIN)]), np.array([speed, 0.0]))
    else:
        left, right = _room(world, rng)
        x = rng.uniform(min(left + MARGIN, right - 3), max(right - MARGIN, left + 3))
        yield from _walk(ride, np.array([x, edge]), np.array([0.0, speed]))


def at_the_door(ride: Ride) -> Iterator[Act]:
    """The dot is 1.6 to 3 pixels before the open door and walks straight through it."""
    world, rng = ride.world, ride.rng
    way = 1.0 if rng.random() < 0.5 else -1.0
    y = world.door + rng.uniform(-world.half.door + 1.5, world.half.door - 1.5)
    start = np.array([world.wall - way * (world.half.wall + rng.uniform(1.6, 3.0)), y])
    yield from _walk(ride, start, np.array([way * rng.uniform(0.8, 1.6), 0.0]))


def _walk(ride: Ride, start: np.ndarray, step: np.ndarray) -> Iterator[Act]:
    """An episode that comes straight to ``start`` and goes on; nothing where something was in its way."""
    began = start - step * ride.before
    if (began <= LOW).any() or (began >= HIGH).any():
        return
    ride.reset({"start": began})
    action = step.astype(np.float32)
    for _ in range(ride.before):
        ride.step(action)
    if math.hypot(ride.world.x - start[0], ride.world.y - start[1]) < 0.01:
        yield lambda: action


def _room(world: TwoRoom, rng: np.random.Generator) -> tuple[float, float]:
    """The x where the larger room, or with equal chance the other where it is wide enough, begins and ends."""
    rooms = [(LOW, world.wall - world.half.wall), (world.wall + world.half.wall, HIGH)]
    wide = [room for room in rooms if room[1] - room[0] > 2 * MARGIN + 8] or rooms
    return wide[int(rng.integers(len(wide)))]


def _beside_the_door(world: TwoRoom, rng: np.random.Generator) -> float:
    """A height at least 3 pixels from the door's jambs and from the borders."""
    y = world.door
    while abs(y - world.door) < world.half.door + 3:
        y = rng.uniform(LOW + 3, HIGH - 3)
    return float(y)


def passes(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The dot moves as if there were no walls."""
    for action in actions:
        world.x, world.y = world.x + float(action[0]), world.y + float(action[1])
        yield world.frame()


def _turned(angle: float) -> Callable[[TwoRoom, Iterable[Any], np.random.Generator], Iterator[np.ndarray]]:
    """Steps are turned by an angle (rad), to one side or the other."""

    def make(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        turn = angle if rng.random() < 0.5 else -angle
        c, s = math.cos(turn), math.sin(turn)
        for dx, dy in actions:
            yield world.step((c * dx - s * dy, s * dx + c * dy))[0]

    return make


def dot_vanishes(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for action in actions:
        world.step(action)
        yield world.scaled(world.picture([]))


def dot_doubles(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """A second one walks beside it, 8 to 20 pixels away."""
    away, heading = rng.uniform(8, 20), rng.uniform(-math.pi, math.pi)
    dx, dy = _inside(world, away, heading)
    for action in actions:
        world.step(action)
        yield world.scaled(world.picture([(world.x, world.y), (world.x + dx, world.y + dy)]))


def dot_grows(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for action in actions:
        world.step(action)
        yield world.scaled(world.picture([(world.x, world.y)], std=2 * world.dot_std))


def _jumps(pixels: float) -> Callable[[TwoRoom, Iterable[Any], np.random.Generator], Iterator[np.ndarray]]:
    def make(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        dx, dy = _inside(world, pixels, rng.uniform(-math.pi, math.pi))
        world.x, world.y = world.x + dx, world.y + dy
        for action in actions:
            yield world.step(action)[0]

    return make


def _inside(world: TwoRoom, away: float, heading: float) -> tuple[float, float]:
    """A displacement within the dot's room, of a heading near the one asked for, or as far as the room allows."""
    left, right = (LOW, world.wall - world.half.wall) if world.x < world.wall else (world.wall + world.half.wall, HIGH)
    for turn in np.linspace(0, 2 * math.pi, 32):
        dx, dy = away * math.cos(heading + turn), away * math.sin(heading + turn)
        if left + 3 < world.x + dx < right - 3 and LOW + 3 < world.y + dy < HIGH - 3:
            return dx, dy
    return 0.0, away if world.y < (LOW + HIGH) / 2 else -away


def wall_moves(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The wall is suddenly 6 to 10 pixels further from the dot."""
    away = math.copysign(rng.uniform(6, 10), world.wall - world.x)
    world.rebuild(round(world.wall + away), world.door)
    for action in actions:
        yield world.step(action)[0]


def door_moves(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The door is suddenly 10 to 20 pixels higher or lower."""
    away = rng.integers(10, 21)
    up, down = world.door - away, world.door + away
    choices = [door for door in (up, down) if LOW + world.half.door < door < HIGH - world.half.door]
    world.rebuild(world.wall, float(choices[int(rng.integers(len(choices)))]))
    for action in actions:
        yield world.step(action)[0]


def door_vanishes(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    door = world.door
    world.rebuild(world.wall, NOWHERE)
    world.door = door
    for action in actions:
        yield world.step(action)[0]


def wall_vanishes(world: TwoRoom, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    wall = world.wall
    world.rebuild(NOWHERE, world.door)
    world.wall = wall
    for action in actions:
        yield world.step(action)[0]


VIOLATIONS = (
    Violation("through-the-wall", "solidity", "the dot walks through the middle wall", passes, at_the_wall, False),
    Violation("through-the-border", "solidity", "the dot leaves the rooms", passes, at_the_border, False),
    Violation("stopped-in-the-door", "solidity", "the dot is stopped in the open door", frozen, at_the_door, False),
    Violation("stopped-in-free-space", "agency", "the dot is stopped where nothing is", frozen, walking),
    Violation("against-the-action", "agency", "the dot walks the opposite way", _turned(math.pi), walking),
    Violation("beside-the-action", "agency", "the dot walks at right angles", _turned(math.pi / 2), walking),
    Violation("twice-the-action", "agency", "the dot takes two steps for one", double_speed, walking),
    Violation("jumps-3-pixels", "continuity", "the dot is suddenly 3 pixels elsewhere", _jumps(3), walking),
    Violation("jumps-6-pixels", "continuity", "the dot is suddenly 6 pixels elsewhere", _jumps(6), walking),
    Violation("jumps-12-pixels", "continuity", "the dot is suddenly 12 pixels elsewhere", _jumps(12), walking),
    Violation("dot-vanishes", "permanence", "the dot is gone", dot_vanishes, walking),
    Violation("dot-doubles", "permanence", "a second dot appears", dot_doubles, walking),
    Violation("dot-grows", "immutability", "the dot is twice as large", dot_grows, walking),
    Violation("wall-moves", "permanence", "the middle wall is suddenly elsewhere", wall_moves, walking),
    Violation("wall-vanishes", "permanence", "the middle wall is gone", wall_vanishes, walking),
    Violation("door-moves", "permanence", "the door is suddenly elsewhere", door_moves, walking),
    Violation("door-vanishes", "permanence", "the door is closed", door_vanishes, walking),
)
