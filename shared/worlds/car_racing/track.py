"""The random circuit: gymnasium's construction, number for number, and where on it a point lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from gymnasium.envs.box2d.car_racing import (
    BORDER,
    BORDER_MIN_COUNT,
    SCALE,
    TRACK_DETAIL_STEP,
    TRACK_RAD,
    TRACK_TURN_RATE,
    TRACK_WIDTH,
)

CHECKPOINTS = 12
TURN = 2 * math.pi
LOST = 100.0
"""Square of the distance (units^2) from the followed centre-line point beyond which all points are searched."""

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Track:
    """A closed circuit of ``n`` tiles, driven in the order of the points.

    ``points`` holds gymnasium's ``(alpha, beta, x, y)`` per tile: polar angle and heading in radians,
    position in units. ``tiles`` are the road's quads (left, right, previous right, previous left), ``kerbs``
    the red and white ones of hard turns, by tile.
    """

    points: list[tuple[float, float, float, float]]
    tiles: list[Quad]
    kerbs: dict[int, Quad]

    @classmethod
    def create(cls, rng: np.random.Generator, width: float = 1.0) -> Track:
        """Draw checkpoints from ``rng`` until they close to a circuit, as gymnasium's ``reset`` does.

        ``width``: of the road, times gymnasium's; it changes neither the points nor what is drawn from ``rng``.
        """
        points = None
        while points is None:
            points = _closed_lap(*_checkpoints(rng))
        return cls(points, *_quads(points, TRACK_WIDTH * width))


def _checkpoints(rng: np.random.Generator) -> tuple[list[tuple[float, float, float]], float]:
    """12 ``(alpha, x, y)`` on a morphed circle, and the angle at which a lap starts."""
    checkpoints = []
    for c in range(CHECKPOINTS):
        noise = rng.uniform(0, 2 * math.pi * 1 / CHECKPOINTS)
        alpha = 2 * math.pi * c / CHECKPOINTS + noise
        radius = rng.uniform(TRACK_RAD / 3, TRACK_RAD)
        if c == 0:
            alpha = 0
            radius = 1.5 * TRACK_RAD
        if c == CHECKPOINTS - 1:
            alpha = 2 * math.pi * c / CHECKPOINTS
            radius = 1.5 * TRACK_RAD
        checkpoints.append((alpha, radius * math.cos(alpha), radius * math.sin(alpha)))
    return checkpoints, 2 * math.pi * (-0.5) / CHECKPOINTS


def _closed_lap(
    checkpoints: list[tuple[float, float, float]], start: float
) -> list[tuple[float, float, float, float]] | None:
    """Steer from checkpoint to checkpoint for five laps and cut out the last whole one; None if it does not close."""
    points = _drive(checkpoints)
    starts = [i for i in range(1, len(points)) if points[i][0] > start and points[i - 1][0] <= start]
    if len(starts) < 2:
        return None
    points = points[starts[-2] : starts[-1] - 1]
    _, beta, x, y = points[0]
    gap_x = math.cos(beta) * (x - points[-1][2])
    gap_y = math.sin(beta) * (y - points[-1][3])
    if math.sqrt(gap_x * gap_x + gap_y * gap_y) > TRACK_DETAIL_STEP:
        return None
    return points


def _drive(checkpoints: list[tuple[float, float, float]]) -> list[tuple[float, float, float, float]]:
    """The path ``(alpha, beta, x, y)`` in steps of ``TRACK_DETAIL_STEP``, turning at a limited rate."""
    x, y, beta = 1.5 * TRACK_RAD, 0.0, 0.0
    target = 0
    goal_alpha, goal_x, goal_y = checkpoints[0]
    laps = 0
    other_side = False
    points: list[tuple[float, float, float, float]] = []
    cos, sin, atan2, append = math.cos, math.sin, math.atan2, points.append
    far = 1.5 * math.pi
    for _ in range(2500):
        alpha = atan2(y, x)
        if other_side and alpha > 0:
            laps += 1
            other_side = False
        if alpha < 0:
            other_side = True
            alpha += TURN

        while alpha > goal_alpha:
            target += 1
            if target == CHECKPOINTS:
                target = 0
                alpha -= TURN
            goal_alpha, goal_x, goal_y = checkpoints[target]

        right_x = cos(beta)
        right_y = sin(beta)
        while beta - alpha > far:
            beta -= TURN
        while beta - alpha < -far:
            beta += TURN
        before = beta
        across = (right_x * (goal_x - x) + right_y * (goal_y - y)) * SCALE
        if across > 0.3:
            turn = 0.001 * across
            beta -= turn if turn < TRACK_TURN_RATE else TRACK_TURN_RATE
        elif across < -0.3:
            turn = -0.001 * across
            beta += turn if turn < TRACK_TURN_RATE else TRACK_TURN_RATE
        x += -right_y * TRACK_DETAIL_STEP
        y += right_x * TRACK_DETAIL_STEP
        append((alpha, before * 0.5 + beta * 0.5, x, y))
        if laps > 4:
            break
    return points


def _quads(points: list[tuple[float, float, float, float]], half: float) -> tuple[list[Quad], dict[int, Quad]]:
    """Road tiles ``half`` units to either side, and kerbs where ``BORDER_MIN_COUNT`` steps in a row turn hard."""
    n = len(points)
    turns = [points[i][1] - points[i - 1][1] for i in range(n)]
    sides = [(turn > 0) - (turn < 0) for turn in turns]
    hard = [abs(turn) > TRACK_TURN_RATE * 0.2 for turn in turns]
    kerbed: set[int] = set()
    for i in range(n):
        span = [i - k for k in range(BORDER_MIN_COUNT)]
        if all(hard[k] for k in span) and abs(sum(sides[k] for k in span)) == BORDER_MIN_COUNT:
            kerbed.update(k % n for k in span)

    edges: list[tuple[Point, Point]] = []
    axes: list[Point] = []
    for _, beta, x, y in points:
        c, s = math.cos(beta), math.sin(beta)
        dx, dy = half * c, half * s
        edges.append(((x - dx, y - dy), (x + dx, y + dy)))
        axes.append((c, s))
    tiles = [(edges[i][0], edges[i][1], edges[i - 1][1], edges[i - 1][0]) for i in range(n)]

    kerbs: dict[int, Quad] = {}
    for i in sorted(kerbed):
        side = -sides[i]
        quad = []
        for k, width in (
            (i, half),
            (i, half + BORDER),
            (i - 1, half + BORDER),
            (i - 1, half),
        ):
            quad.append((points[k][2] + side * width * axes[k][0], points[k][3] + side * width * axes[k][1]))
        kerbs[i] = (quad[0], quad[1], quad[2], quad[3])
    return tiles, kerbs


class CentreLine:
    """The polyline through a track's points, and the point on it that the car has reached.

    ``xy`` is float64 ``(n, 2)`` in units; ``nearest`` indexes it. The index follows the car from step to
    step; where the car is further than 10 units from it (off the road, or cutting across), all points are searched.
    """

    def __init__(self, track: Track) -> None:
        self.xy = np.array([point[2:] for point in track.points])
        self._columns = np.ascontiguousarray(self.xy.T)
        self._x: list[float] = self.xy[:, 0].tolist()
        self._y: list[float] = self.xy[:, 1].tolist()
        self._beta = [point[1] for point in track.points]
        self.nearest = 0

    def follow(self, x: float, y: float) -> None:
        """Move ``nearest`` to where a car at ``(x, y)`` is now."""
        xs, ys, i = self._x, self._y, self.nearest
        n = len(xs)
        best = (xs[i] - x) ** 2 + (ys[i] - y) ** 2
        for direction in (1, -1):
            while True:
                k = (i + direction) % n
                d = (xs[k] - x) ** 2 + (ys[k] - y) ** 2
                if d >= best:
                    break
                i, best = k, d
        if best > LOST:
            dx, dy = self._columns[0] - x, self._columns[1] - y
            i = int((dx * dx + dy * dy).argmin())
        self.nearest = i

    def locate(self, x: float, y: float) -> tuple[float, float]:
        """Lateral offset (units, left positive) and heading of the line (radians, 0 along +y) beside ``(x, y)``.

        The offset is to the closer of the two segments that meet in the nearest point; the heading is
        interpolated along it.
        """
        i = self.nearest
        n = len(self._x)
        after = self._project(i, (i + 1) % n, x, y)
        before = self._project(i - 1, i, x, y)
        _, offset, heading = min(after, before)
        return offset, heading

    def _project(self, i: int, k: int, x: float, y: float) -> tuple[float, float, float]:
        """Squared distance to segment ``i``-``k``, signed offset from it, heading at the foot."""
        x0, y0 = self._x[i], self._y[i]
        sx, sy = self._x[k] - x0, self._y[k] - y0
        px, py = x - x0, y - y0
        length = sx * sx + sy * sy
        part = min(max((px * sx + py * sy) / length, 0.0), 1.0) if length else 0.0
        ex, ey = px - part * sx, py - part * sy
        squared = ex * ex + ey * ey
        turn = math.remainder(self._beta[k] - self._beta[i], TURN)
        offset = math.copysign(math.sqrt(squared), sx * py - sy * px)
        return squared, offset, self._beta[i] + part * turn
