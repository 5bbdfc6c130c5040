"""Frames straight at the wanted size: the circuit drawn once per episode, then one warp per frame.

gymnasium draws every polygon on a 1000x800 screen, reduces it to 96x96 with pygame's ``smoothscale`` and a user
reduces that once more by area. Here the playfield is a texture, as coarse as one bilinear sample needs to
have the variance of those two filters; a frame is one affine warp of it, plus a car that never moves in the
view. ``smoothscale`` leaves every level 2 lower; that is in the palette.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from gymnasium.envs.box2d.car_dynamics import (
    HULL_POLY1,
    HULL_POLY2,
    HULL_POLY3,
    HULL_POLY4,
    SIZE,
    WHEEL_R,
    WHEEL_W,
    WHEELPOS,
)
from gymnasium.envs.box2d.car_racing import (
    BORDER,
    GRASS_DIM,
    PLAYFIELD,
    SCALE,
    STATE_H,
    STATE_W,
    WINDOW_H,
    WINDOW_W,
    ZOOM,
)

from shared.worlds.car_racing.dashboard import Dashboard
from shared.worlds.car_racing.track import Quad, Track

FULL_ZOOM = ZOOM * SCALE
"""Screen pixels per unit once the first second's zoom is over."""
SCENE_ROWS = 84
"""Rows of gymnasium's 96 above the dashboard."""
DIMMED = 2
"""Levels that ``smoothscale`` loses everywhere by truncation."""
CAR_X, CAR_Y = WINDOW_W / 2, WINDOW_H * 3 / 4
"""The hull's origin on the screen, from the top left."""
ANGLES, PHASES = 53, 32
"""Steps of the wheels' joint angle over 1.3 rad around 0 (its limits are 0.4), and of their rotation over a turn."""
ANGLE_STEPS, ANGLE_ZERO, PHASE_STEPS = ANGLES / 1.3, ANGLES / 2, PHASES / (2 * np.pi)
SHRINK = 0.7
"""Texels by which ``cv2.LINE_AA`` fattens the road's and the kerbs' long edges."""
KERB_SHRINK = 0.5
"""The same between kerbs, which cover each other; tiles may overlap, their colours hardly differ. Both by trial."""
FAR_DETAIL = 1.5
"""Finer than the frame by this factor is the texture that twice the frame's size is sampled from; by trial."""
SHIFT = 6
"""Fractional bits of the corners that ``cv2.fillConvexPoly`` gets."""

Colour = Sequence[float] | np.ndarray


@cache
def area_weights(size: int, rows: int, pixels: int) -> np.ndarray:
    """Weights ``(size, pixels)`` of screen pixels in output pixels.

    ``smoothscale`` to 96 pixels, cropped to the first ``rows``, then reduced by area.
    """
    edges = np.linspace(0, pixels, STATE_W + 1)
    left, right = edges[:-1, None], edges[1:, None]
    k = np.arange(pixels)
    smooth = np.clip(np.minimum(right, k + 1) - np.maximum(left, k), 0, None) * (STATE_W / pixels)
    unit = np.eye(rows, dtype=np.float32)
    area = cv2.resize(unit, (rows, size), interpolation=cv2.INTER_AREA) if size != rows else unit
    return np.asarray(area @ smooth[:rows], np.float32)


def variance(weights: np.ndarray) -> float:
    """Mean over output pixels of the spread of their footprint, in screen pixels squared."""
    weights = weights.astype(np.float64)
    at = np.arange(weights.shape[1]) + 0.5
    mean = weights @ at
    return float(np.mean(weights @ at**2 - mean**2 + 1 / 12))


def dimmed(colour: Colour) -> tuple[int, int, int, int]:
    """A colour as ``smoothscale`` leaves it, with a fourth channel: four are warped faster than three."""
    r, g, b = (max(int(c) - DIMMED, 0) for c in colour)
    return r, g, b, 0


class Renderer:
    """Draws frames ``(size, size, 3)`` uint8 RGB of one track at a time.

    ``hud`` keeps the dashboard; without it the scene's 84 of 96 rows fill the frame.
    """

    def __init__(self, size: int, hud: bool) -> None:
        self.size = size
        self.rows = STATE_H if hud else SCENE_ROWS
        self.pitch_x = WINDOW_W / size
        self.pitch_y = WINDOW_H * self.rows / STATE_H / size
        row_weights = area_weights(size, self.rows, WINDOW_H)
        column_weights = area_weights(size, STATE_W, WINDOW_W)
        # One bilinear sample of box-filtered texels of side h has the variance h^2/12 + h^2/6 = (h/2)^2 per axis.
        texel = 2 * np.sqrt((variance(row_weights) + variance(column_weights)) / 2)
        self.side = round(2 * PLAYFIELD * FULL_ZOOM / texel)
        self.scale = self.side / (2 * PLAYFIELD)
        self.texture = np.empty((self.side, self.side, 4), np.uint8)
        self.dashboard = Dashboard(row_weights, column_weights) if hud else None
        self._grass_key: tuple[tuple[int, ...], ...] | None = None
        self._weights = row_weights, column_weights
        self._looks: dict[Look, CarSprites] = {}
        self.cars = [self.look(Look())]
        """The cars that are drawn; one, unless somebody says otherwise."""
        self.mirrored = False
        """Whether the scene is drawn mirrored, left to right."""
        self._mips: list[np.ndarray] = []
        self._matrix = np.empty((2, 3))
        self._values = self._matrix.data.cast("B").cast("d")

    def begin(self, track: Track, road: Colour, field: Colour, grass: Colour) -> None:
        """Draw a new episode's circuit in the given colours (RGB, 0..255)."""
        key = (dimmed(field), dimmed(grass))
        if key != self._grass_key:
            self._meadow = meadow(self.side, *key)
            self._grass_key = key
        np.copyto(self.texture, self._meadow)
        self._mips = []
        self._touched = dimmed(road)
        shades = [dimmed([c + 0.01 * k * 255 for c in road]) for k in range(3)]
        kerb_colours = (dimmed((255, 255, 255)), dimmed((255, 0, 0)))
        self._tiles = self._corners(track.tiles, lengthwise=0.0)
        kerbs = self._corners(list(track.kerbs.values()), lengthwise=KERB_SHRINK)
        order = {tile: kerb for kerb, tile in enumerate(track.kerbs)}
        for i, tile in enumerate(self._tiles):
            cv2.fillConvexPoly(self.texture, tile, shades[i % 3], cv2.LINE_AA, SHIFT)
            if i in order:
                cv2.fillConvexPoly(self.texture, kerbs[order[i]], kerb_colours[i % 2], cv2.LINE_AA, SHIFT)

    def touch(self, tile: int) -> None:
        """Give a tile the plain road colour that a car's touch leaves."""
        cv2.fillConvexPoly(self.texture, self._tiles[tile], self._touched, cv2.LINE_AA, SHIFT)

    def _corners(self, quads: list[Quad], lengthwise: float) -> np.ndarray:
        """Fixed-point texel corners ``(n, 4, 2)`` of quads, shrunk against anti-aliasing's fat."""
        corners = (np.array(quads, np.float64).reshape(-1, 4, 2) + PLAYFIELD) * self.scale - 0.5
        sideways, along = ((0, 3), (1, 2), SHRINK), ((0, 1), (3, 2), lengthwise)
        for first, second, shrink in (sideways, along):
            one, other = np.s_[:, first], np.s_[:, second]
            apart = corners[other] - corners[one]
            apart *= shrink / np.maximum(np.linalg.norm(apart, axis=2, keepdims=True), 1e-9)
            corners[one] += apart
            corners[other] -= apart
        return np.round(corners * (1 << SHIFT)).astype(np.int32)

    def draw(
        self, x: float, y: float, sin: float, cos: float, zoom: float, angle: list[float], phase: list[float]
    ) -> np.ndarray:
        """The scene around a hull at ``(x, y)`` units, at ``zoom`` screen pixels per unit."""
        step_x, step_y = self.pitch_x / zoom, self.pitch_y / zoom
        left = 0.5 * step_x - CAR_X / zoom
        top = CAR_Y / zoom - 0.5 * step_y
        k = self.scale
        matrix, values = self._matrix, self._values
        values[0] = k * cos * step_x
        values[1] = k * sin * step_y
        values[2] = k * (x + PLAYFIELD + cos * left - sin * top) - 0.5
        values[3] = k * sin * step_x
        values[4] = -k * cos * step_y
        values[5] = k * (y + PLAYFIELD + sin * left + cos * top) - 0.5
        if zoom == FULL_ZOOM:
            view = warp(self.texture, matrix, self.size)
        else:
            view = self._far(matrix, FULL_ZOOM / zoom)
        frame = cv2.cvtColor(view, cv2.COLOR_RGBA2RGB)
        if self.mirrored:
            frame = np.ascontiguousarray(frame[:, ::-1])
        for car in self.cars:
            car.draw(frame, zoom, angle, phase)
        return frame

    def look(self, look: Look) -> CarSprites:
        """The car's sprites with another colour, size or place."""
        if look not in self._looks:
            self._looks[look] = CarSprites(*self._weights, look)
        return self._looks[look]

    def erase(self, tiles: Sequence[int]) -> None:
        """Draw the meadow over these tiles and their kerbs."""
        mask = np.zeros((self.side, self.side), np.uint8)
        cv2.fillPoly(mask, [self._tiles[tile] for tile in tiles], 1, cv2.LINE_8, SHIFT)
        reach = 2 * round(BORDER * self.scale) + 1
        mask = cv2.dilate(mask, np.ones((reach, reach), np.uint8))
        self.texture[mask > 0] = self._meadow[mask > 0]
        self._mips = []

    def copy(self) -> Renderer:
        """A renderer of the same circuit, to draw on without touching this one."""
        twin = copy.copy(self)
        twin.texture, twin.cars, twin._mips = self.texture.copy(), list(self.cars), []
        twin._matrix = np.empty((2, 3))
        twin._values = twin._matrix.data.cast("B").cast("d")
        return twin

    def _far(self, matrix: np.ndarray, distance: float) -> np.ndarray:
        """A view from ``distance`` times further away: two texture halvings mixed, at twice the size, averaged."""
        if not self._mips:
            self._mips = [self.texture]
            while len(self._mips) < 6:
                mip = self._mips[-1]
                half = (mip.shape[1] // 2, mip.shape[0] // 2)
                self._mips.append(cv2.resize(mip, half, interpolation=cv2.INTER_AREA))
        level = min(max(np.log2(distance / FAR_DETAIL), 0.0), len(self._mips) - 1.001)
        fine = matrix @ ((0.5, 0, -0.25), (0, 0.5, -0.25), (0, 0, 1))
        views = []
        for mip in self._mips[int(level) : int(level) + 2]:
            ratio = mip.shape[0] / self.side
            scaled = fine * ratio
            scaled[:, 2] = (fine[:, 2] + 0.5) * ratio - 0.5
            views.append(warp(mip, scaled, 2 * self.size))
        part = level - int(level)
        mixed = cv2.addWeighted(views[0], 1 - part, views[1], part, 0)
        return np.asarray(cv2.resize(mixed, (self.size, self.size), interpolation=cv2.INTER_AREA))


def warp(texture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Sample a texture bilinearly at ``matrix @ (column, row, 1)``; black outside."""
    return np.asarray(cv2.warpAffine(texture, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))


def meadow(side: int, field: Colour, grass: Colour) -> np.ndarray:
    """The playfield without a road: ``(side, side, 4)``, exact shares of grass patches per texel."""
    edges = np.linspace(-PLAYFIELD, PLAYFIELD, side + 1)
    cells, rest = np.divmod(edges, 2 * GRASS_DIM)
    filled = cells * GRASS_DIM + np.minimum(rest, GRASS_DIM)
    share = np.diff(filled) / np.diff(edges)
    levels = np.arange(256)[:, None] / 255
    table = np.round(np.asarray(field) * (1 - levels) + np.asarray(grass) * levels).astype(np.uint8)
    coverage = np.round(np.outer(share, share) * 255).astype(np.uint8)
    return cv2.merge([cv2.LUT(coverage, np.ascontiguousarray(table[:, c])) for c in range(4)])


class Look(NamedTuple):
    """How a car is drawn."""

    colour: tuple[int, int, int] = (204, 0, 0)
    """of the hull, RGB"""
    size: float = 1.0
    """times the true one"""
    right: float = 0.0
    ahead: float = 0.0
    """units from where it is"""


class CarSprites:
    """The car as gymnasium draws it, in shares of output pixels, tabulated as wheel positions come up.

    A sprite is ``(2, rows, columns, 3)`` float32: what remains of the scene, and what is added. The visible part of
    a wheel does not depend on the others, so a car is the hull's sprite plus four wheels'.
    """

    def __init__(self, row_weights: np.ndarray, column_weights: np.ndarray, look: Look) -> None:
        """Weights of ``area_weights`` for the two axes."""
        self._look = look
        self._side = round(120 * look.size)
        self._x, self._y = CAR_X + look.right * FULL_ZOOM, CAR_Y - look.ahead * FULL_ZOOM
        self._left, self._top = int(self._x) - self._side // 2, int(self._y) - self._side // 2
        near_rows = row_weights[:, self._top : self._top + self._side]
        near_columns = column_weights[:, self._left : self._left + self._side]
        used_rows = np.flatnonzero(near_rows[:, 10:-10].any(1))
        used_columns = np.flatnonzero(near_columns[:, 25:-25].any(1))
        self._box = np.s_[used_rows[0] : used_rows[-1] + 1, used_columns[0] : used_columns[-1] + 1]
        self._row_weights = near_rows[self._box[0]]
        self._column_weights = np.ascontiguousarray(near_columns[self._box[1]].T)
        self._hulls: dict[float, np.ndarray] = {}
        self._tables: dict[float, tuple[np.ndarray, list[list[np.ndarray | None]]]] = {}

    def draw(self, frame: np.ndarray, zoom: float, angle: list[float], phase: list[float]) -> None:
        """Put the car into a frame, in place."""
        car, wheels = self._tables.get(zoom) or self._begin(zoom)
        for i in range(4):
            step = int(angle[i] * ANGLE_STEPS + ANGLE_ZERO) * PHASES + int(phase[i] * PHASE_STEPS) % PHASES
            wheel = wheels[i][step]
            if wheel is None:
                wheel = wheels[i][step] = self._wheel(zoom, i, step)
            car = car + wheel
        patch = frame[self._box]
        mixed = patch * car[0]
        mixed += car[1]
        np.maximum(mixed, 0, out=patch, casting="unsafe")

    def _begin(self, zoom: float) -> tuple[np.ndarray, list[list[np.ndarray | None]]]:
        """The hull's sprite and empty tables of the wheels'."""
        self._hulls[zoom], sprite = self._hull(zoom)
        self._tables[zoom] = sprite, [[None] * (ANGLES * PHASES) for _ in range(4)]
        return self._tables[zoom]

    def _mask(self, polygon: Sequence[tuple[float, float]], zoom: float, onto: np.ndarray) -> None:
        """Fill a polygon (units from the hull's origin) as pygame does, in whole screen pixels."""
        zoom *= self._look.size
        points = [
            (int(x * zoom + self._x) - self._left, WINDOW_H - 1 - int(y * zoom + WINDOW_H - self._y) - self._top)
            for x, y in polygon
        ]
        cv2.fillConvexPoly(onto, np.array(points, np.int32), 1.0)

    def _sprite(self, mask: np.ndarray, colour: Colour) -> np.ndarray:
        share = self._row_weights @ mask @ self._column_weights
        return np.stack(
            [np.repeat(-share[..., None], 3, 2), share[..., None] * (np.array(colour, np.float32) - DIMMED)]
        )

    def _hull(self, zoom: float) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros((self._side, self._side), np.float32)
        for polygon in (HULL_POLY1, HULL_POLY2, HULL_POLY3, HULL_POLY4):
            self._mask([(x * SIZE, y * SIZE) for x, y in polygon], zoom, mask)
        sprite = self._sprite(mask, self._look.colour)
        sprite[0] += 1
        sprite[1] += 0.5
        return mask, sprite

    def _wheel(self, zoom: float, i: int, step: int) -> np.ndarray:
        angle_step, phase_step = divmod(step, PHASES)
        angle = (angle_step + 0.5 - ANGLE_ZERO) / ANGLE_STEPS
        phase = (phase_step + 0.5) / PHASE_STEPS
        c, s = np.cos(angle), np.sin(angle)
        at_x, at_y = WHEELPOS[i]

        def placed(y0: float, y1: float) -> list[tuple[float, float]]:
            corners = [(-WHEEL_W, y0), (WHEEL_W, y0), (WHEEL_W, y1), (-WHEEL_W, y1)]
            return [((at_x + c * x - s * y) * SIZE, (at_y + s * x + c * y) * SIZE) for x, y in corners]

        hull = self._hulls[zoom]
        tyre = np.zeros_like(hull)
        self._mask(placed(WHEEL_R, -WHEEL_R), zoom, tyre)
        sprite = self._sprite(tyre * (1 - hull), (0, 0, 0))
        s0, s1 = np.sin(phase), np.sin(phase + 1.2)
        if s0 > 0 and s1 > 0:
            return sprite
        c0, c1 = np.cos(phase), np.cos(phase + 1.2)
        white = np.zeros_like(hull)
        self._mask(
            placed(WHEEL_R * (np.sign(c0) if s0 > 0 else c0), WHEEL_R * (np.sign(c1) if s1 > 0 else c1)), zoom, white
        )
        sprite[1] += (self._sprite(white * (1 - hull), (77 + DIMMED,) * 3))[1]
        return sprite
