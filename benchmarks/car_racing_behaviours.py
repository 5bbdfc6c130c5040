"""Seven ways to drive CarRacing that together reach most of what its pictures and physics can show."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from shared.worlds.car_racing import CarRacing

Behaviour = Callable[[CarRacing, np.random.Generator, int], np.ndarray]
"""``(world, rng, step) -> action`` float32 (3,)."""


def pursue(world: CarRacing, rng: np.random.Generator, step: int, top_speed: float = 45.0) -> np.ndarray:
    """Pure pursuit of the centre line (Coulter 1992), slower in bends, crawling when spun or off the road."""
    x, y, angle, speed = (float(v) for v in world.state()[:4])
    xy, nearest = world.line.xy, world.line.nearest
    ahead = xy[(nearest + 3 + int(abs(speed) / 8)) % len(xy)]
    bearing = math.remainder(math.atan2(-(ahead[0] - x), ahead[1] - y) - angle, 2 * math.pi)
    further = xy[(nearest + 9 + int(abs(speed) / 4)) % len(xy)]
    bend = abs(math.remainder(math.atan2(-(further[0] - x), further[1] - y) - angle, 2 * math.pi))
    wanted = top_speed / (1 + 3 * min(bend, 1.2))
    if abs(bearing) > 1.0 or not world.on_road:
        wanted = min(wanted, 15.0)
    gas = min(max(0.15 * (wanted - speed), 0.0), 1.0) if abs(bearing) < 1.5 else 0.1
    brake = 0.3 if speed > wanted + 6 else 0.0
    return np.array([min(max(-1.6 * bearing, -1.0), 1.0), gas * 0.6, brake], np.float32)


def _uniform(world: CarRacing, rng: np.random.Generator, step: int) -> np.ndarray:
    return rng.uniform([-1, 0, 0], [1, 1, 1]).astype(np.float32)


def _brownian(world: CarRacing, rng: np.random.Generator, step: int) -> np.ndarray:
    phase = np.random.default_rng(step // 25 + 7).uniform([-0.7, 0.1, 0], [0.7, 0.9, 0.05])
    return np.asarray(phase + rng.normal(0, 0.02, 3), np.float32).clip([-1, 0, 0], [1, 1, 1])


def _wander(world: CarRacing, rng: np.random.Generator, step: int) -> np.ndarray:
    action = pursue(world, rng, step, top_speed=30)
    action[0] += 0.5 * math.sin(step / 15)
    return action.clip([-1, 0, 0], [1, 1, 1])


def _bursts(world: CarRacing, rng: np.random.Generator, step: int) -> np.ndarray:
    if step % 80 > 60:
        return np.array([math.copysign(0.8, math.sin(step // 80 * 2.1)), 0.5, 0], np.float32)
    return pursue(world, rng, step)


def _straight(world: CarRacing, rng: np.random.Generator, step: int) -> np.ndarray:
    return np.array([0, 0.3, 0], np.float32)


def _donut(world: CarRacing, rng: np.random.Generator, step: int) -> np.ndarray:
    return np.array([0.7 if step > 40 else 0, 1 if step < 200 else 0.4, 0.95 if step % 150 > 130 else 0], np.float32)


BEHAVIOURS: dict[str, Behaviour] = {
    "uniform": _uniform,
    "brownian": _brownian,
    "pursuit": pursue,
    "wander": _wander,
    "bursts": _bursts,
    "straight": _straight,
    "donut": _donut,
}
"""``straight`` leaves the playfield; ``pursuit`` finishes laps."""
