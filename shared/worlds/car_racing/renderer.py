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

import cv2
import numpy as np
from gymnasium.envs.box2d.car_racing import (
    BORDER,
    GRASS_DIM,
    PLAYFIELD,
    STATE_H,
    STATE_W,
    WINDOW_H,
    WINDOW_W,
)

from shared.worlds.car_racing.dashboard import Dashboard
from shared.worlds.car_racing.sprites import CAR_X, CAR_Y, DIMMED, FULL_ZOOM, RED, CarSprites, Colour, Look
from shared.worlds.car_racing.track import Quad, Track

SCENE_ROWS = 84
"""Rows of gymnasium's 96 above the dashboard."""
SHRINK = 0.7
"""Texels by which ``cv2.LINE_AA`` fattens the road's and the kerbs' long edges."""
KERB_SHRINK = 0.5
"""The same between kerbs, which cover each other; tiles may overlap, their colours hardly differ. Both by trial."""
FAR_DETAIL = 1.5
"""Finer than the frame by this factor is the texture that twice the frame's size is sampled from; by trial."""
SHIFT = 6
"""Fractional bits of the corners that ``cv2.fillConvexPoly`` gets."""


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
        self.zoom = FULL_ZOOM
        """Screen pixels per unit of the camera once the first second is over."""
        self.colour: tuple[int, int, int] | None = None
        """Of the car's hull, RGB; None: gymnasium's."""
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

    def aim(self, zoom: float, colour: tuple[int, int, int] | None) -> None:
        """Another camera (``zoom`` times gymnasium's) and another colour of the car, which is drawn once as it is."""
        if self.zoom != FULL_ZOOM * zoom:
            self.zoom, self._looks = FULL_ZOOM * zoom, {}
        self.colour = colour
        self.cars = [self.look(Look())]

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
        if zoom == FULL_ZOOM:  # what the texture is made for
            view = warp(self.texture, matrix, self.size)
        else:
            view = self._far(matrix, FULL_ZOOM / zoom)
        frame = cv2.cvtColor(view, cv2.COLOR_RGBA2RGB)
        if self.mirrored:
            frame = np.ascontiguousarray(frame[:, ::-1])
        for car in self.cars:
            car.draw(frame, zoom, angle, phase)
        return frame

    def shares(self, right: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """Where places are drawn, units from the hull's origin, arrays of one shape: shares of the frame's width and
        height, (..., 2). The camera is that of the episode once its first second is over."""
        across, down = CAR_X + self.zoom * right, CAR_Y - self.zoom * ahead
        return np.stack([across / WINDOW_W, down * STATE_H / (WINDOW_H * self.rows)], -1)

    def look(self, look: Look) -> CarSprites:
        """The car's sprites with another colour, size or place; without a colour, in that of this episode."""
        colour, plain = look.colour or self.colour or RED, look._replace(colour=None)
        if plain not in self._looks:
            self._looks[plain] = CarSprites(*self._weights, plain, self.zoom)
        return self._looks[plain].coloured(colour)

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
