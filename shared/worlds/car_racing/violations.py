"""Violations of CarRacing: of the car, the road, and the effects of pedals and steering."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.worlds.car_racing.car import Car
from shared.worlds.car_racing.situations import before_a_bend, braking, driving, turning
from shared.worlds.car_racing.sprites import RED, Look
from shared.worlds.violations import Violation, double_speed, frozen, half_speed, simulated

if TYPE_CHECKING:
    from shared.worlds.car_racing.world import CarRacing

Make = Callable[["CarRacing", Iterable[Any], np.random.Generator], Iterator[np.ndarray]]

GLIDE, SPIN, JUMP = 0.4, 0.1, 12.0
"""Units sideways a frame, rad a frame, units ahead at once; the car is 5.2 long."""
GAP = range(3, 9)
"""Tiles ahead of the car that are missing."""
FAR = 40
"""Tiles at least between the car and the place on the circuit that it is put to."""


def _looking(*looks: Look) -> Make:
    """Everything is as it is, but these cars are drawn."""

    def make(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        world.renderer.cars = [world.renderer.look(look) for look in looks]
        yield from simulated(world, actions)

    return make


def turns_blue(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """A car that is blue turns red."""
    own = world.renderer.colour or RED
    near = sum(abs(a - b) for a, b in zip(own, BLUE)) < 100
    world.renderer.cars = [world.renderer.look(Look(RED if near else BLUE))]
    yield from simulated(world, actions)


def _told(change: Callable[[np.ndarray], tuple[float, float, float]]) -> Make:
    """The car does what another action would do."""

    def make(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        yield from simulated(world, (np.array(change(action), np.float32) for action in actions))

    return make


def jumps_ahead(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    car = _car(world)
    car.place(car.x - JUMP * car.sin, car.y + JUMP * car.cos, car.hull.angle)
    yield from simulated(world, actions)


def slides_sideways(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """It drives on, and glides to one side as well without turning."""
    glide = GLIDE if rng.random() < 0.5 else -GLIDE
    car = _car(world)
    for action in actions:
        world.step(action)
        car.place(car.x + glide * car.cos, car.y + glide * car.sin, car.hull.angle)
        yield _drawn(world)


def turns_on_the_spot(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """It stands still at once, and spins."""
    car = _car(world)
    x, y, angle = car.x, car.y, car.hull.angle
    spin = SPIN if rng.random() < 0.5 else -SPIN
    for number, action in enumerate(actions, 1):
        world.step(action)
        car.place(x, y, angle + number * spin)
        yield _drawn(world)


def rolls_backwards(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """At once, at the speed that it had forwards."""
    car = _car(world)
    x, y, angle = car.x, car.y, car.hull.angle
    step = 1 / world.control_rate
    vx, vy = car.vx, car.vy
    for number, action in enumerate(actions, 1):
        world.step(action)
        car.place(x - number * step * vx, y - number * step * vy, angle)
        yield _drawn(world)


def is_elsewhere(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The car is put to another place of the circuit, where it lies on the road as before."""
    car, count = _car(world), len(world.track)
    offset, heading = world.line.locate(car.x, car.y)
    error = car.hull.angle - heading
    place = (world.line.nearest + int(rng.integers(FAR, count - FAR))) % count
    _, beta, x, y = world.track[place]
    car.place(x - offset * math.cos(beta), y - offset * math.sin(beta), beta + error)
    world.line.follow(car.x, car.y)
    yield from simulated(world, actions)


def road_is_mirrored(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    world.renderer.mirrored = True
    yield from simulated(world, actions)


def gap_in_the_road(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    count, near = len(world.track), world.line.nearest
    gap = [(near + ahead) % count for ahead in GAP]
    for tile in gap:
        world.touched[tile] = True  # nobody paints it again
    world.renderer.erase(gap)
    yield from simulated(world, actions)


def grass_and_road_swap(world: CarRacing, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The road takes the meadow's colour, and the meadow the road's."""
    road = world.road_color
    world.renderer.begin(world.circuit, world.bg_color, road, road)
    yield from simulated(world, actions)


def _car(world: CarRacing) -> Car:
    assert world.car is not None
    return world.car


def _drawn(world: CarRacing) -> np.ndarray:
    world.line.follow(_car(world).x, _car(world).y)
    return world.look()


BLUE = (0, 60, 204)
BESIDE = Look(right=9.0, ahead=8.0)

VIOLATIONS = (
    Violation("car-vanishes", "permanence", "the car is gone, and the road passes by", _looking(), driving),
    Violation("car-doubles", "permanence", "a second car drives beside it", _looking(Look(), BESIDE), driving),
    Violation("gap-in-the-road", "permanence", "a piece of the road ahead is gone", gap_in_the_road, driving),
    Violation("car-turns-blue", "immutability", "the red car is blue", turns_blue, driving),
    Violation("car-grows", "immutability", "the car is twice as large", _looking(Look(size=2.0)), driving),
    Violation("car-shrinks", "immutability", "the car is half as large", _looking(Look(size=0.5)), driving),
    Violation(
        "grass-and-road-swap", "immutability", "the road is green and the grass is grey", grass_and_road_swap, driving
    ),
    Violation("jumps-ahead", "continuity", "the car is suddenly 12 units ahead", jumps_ahead, driving),
    Violation("is-elsewhere", "continuity", "the car is suddenly elsewhere on the road", is_elsewhere, driving),
    Violation(
        "road-is-mirrored", "continuity", "a bend to one side is a bend to the other", road_is_mirrored, before_a_bend
    ),
    Violation("slides-sideways", "inertia", "the car glides aside without turning", slides_sideways, driving),
    Violation("turns-on-the-spot", "inertia", "the car stops at once and spins", turns_on_the_spot, driving),
    Violation("rolls-backwards", "inertia", "the car rolls back as fast as it came", rolls_backwards, driving),
    Violation("freezes", "inertia", "the car and the road stand still at once", frozen, driving),
    Violation("double-speed", "inertia", "time runs at double speed", double_speed, driving),
    Violation("half-speed", "inertia", "time runs at half speed", half_speed, driving),
    Violation(
        "keeps-its-speed", "agency", "the car brakes hard and does not slow down",
        _told(lambda action: (action[0], 0.0, 0.0)), braking, False,
    ),
    Violation(
        "does-not-turn", "agency", "the wheel is turned fully and the car goes straight on",
        _told(lambda action: (0.0, action[1], action[2])), turning, False,
    ),
    Violation(
        "turns-the-other-way", "agency", "the car turns to the other side than its wheel",
        _told(lambda action: (-action[0], action[1], action[2])), turning, False,
    ),
)  # fmt: skip
