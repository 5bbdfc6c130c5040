"""The car as it is drawn: a hull and four wheels that never move in the view, in shares of output pixels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
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
from gymnasium.envs.box2d.car_racing import SCALE, WINDOW_H, WINDOW_W, ZOOM

FULL_ZOOM = ZOOM * SCALE
"""Screen pixels per unit once the first second's zoom is over."""
DIMMED = 2
"""Levels that ``smoothscale`` loses everywhere by truncation."""
CAR_X, CAR_Y = WINDOW_W / 2, WINDOW_H * 3 / 4
"""The hull's origin on the screen, from the top left."""
ANGLES, PHASES = 53, 32
"""Steps of the wheels' joint angle over 1.3 rad around 0 (its limits are 0.4), and of their rotation over a turn."""
ANGLE_STEPS, ANGLE_ZERO, PHASE_STEPS = ANGLES / 1.3, ANGLES / 2, PHASES / (2 * np.pi)
RED = (204, 0, 0)
"""Gymnasium's car."""

Colour = Sequence[float] | np.ndarray


class Look(NamedTuple):
    """How a car is drawn."""

    colour: tuple[int, int, int] | None = None
    """of the hull, RGB; None: the episode's"""
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

    def __init__(self, row_weights: np.ndarray, column_weights: np.ndarray, look: Look, zoom: float) -> None:
        """Weights of ``area_weights`` for the two axes; ``zoom`` is the largest, in screen pixels per unit."""
        self._look = look
        self._colour = RED
        self._side = round(120 * look.size * max(zoom / FULL_ZOOM, 1.0))
        self._x, self._y = CAR_X + look.right * zoom, CAR_Y - look.ahead * zoom
        self._left, self._top = int(self._x) - self._side // 2, int(self._y) - self._side // 2
        near_rows = row_weights[:, self._top : self._top + self._side]
        near_columns = column_weights[:, self._left : self._left + self._side]
        used_rows = np.flatnonzero(near_rows[:, 10:-10].any(1))
        used_columns = np.flatnonzero(near_columns[:, 25:-25].any(1))
        self._box = np.s_[used_rows[0] : used_rows[-1] + 1, used_columns[0] : used_columns[-1] + 1]
        self._row_weights = near_rows[self._box[0]]
        self._column_weights = np.ascontiguousarray(near_columns[self._box[1]].T)
        self._hulls: dict[float, np.ndarray] = {}
        self._wheels: dict[float, list[list[np.ndarray | None]]] = {}
        self._cars: dict[float, np.ndarray] = {}

    def coloured(self, colour: tuple[int, int, int]) -> CarSprites:
        """The same car with a hull of another colour; wheels are shared."""
        if colour == self._colour:
            return self
        twin = copy.copy(self)
        twin._colour, twin._cars = colour, {}
        return twin

    def draw(self, frame: np.ndarray, zoom: float, angle: list[float], phase: list[float]) -> None:
        """Put the car into a frame, in place."""
        if zoom not in self._cars:
            self._begin(zoom)
        car, wheels = self._cars[zoom], self._wheels[zoom]
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

    def _begin(self, zoom: float) -> None:
        """The hull's sprite and empty tables of the wheels'."""
        self._hulls[zoom], self._cars[zoom] = self._hull(zoom)
        self._wheels.setdefault(zoom, [[None] * (ANGLES * PHASES) for _ in range(4)])

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
        sprite = self._sprite(mask, self._colour)
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
