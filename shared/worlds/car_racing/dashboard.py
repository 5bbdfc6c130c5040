"""The dashboard under the scene: speed, four wheels, steering, rotation and the score."""

from __future__ import annotations

import math

import numpy as np
import pygame
from gymnasium.envs.box2d.car_racing import WINDOW_H, WINDOW_W

UNIT_X, UNIT_Y = WINDOW_W / 40, WINDOW_H / 40
WHITE, BLUE, VIOLET, GREEN, RED = (255, 255, 255), (0, 0, 255), (51, 0, 255), (0, 255, 0), (255, 0, 0)
UPRIGHT = ((5, 0.02, WHITE), (7, 0.01, BLUE), (8, 0.01, BLUE), (9, 0.01, VIOLET), (10, 0.01, VIOLET))
"""Place, length per value and colour of the speed and the four wheels' rotation."""
LEVEL = ((20, -10.0, GREEN), (30, -0.8, RED))
"""The same of the steering angle and the hull's rotation."""
DIMMED = 2.0


class Dashboard:
    """Overwrites a frame's last rows. Each indicator's picture is kept by its length in screen pixels."""

    def __init__(self, size: int, row_weights: np.ndarray, column_weights: np.ndarray) -> None:
        """``row_weights`` ``(size, WINDOW_H)`` and ``column_weights`` ``(size, WINDOW_W)`` of screen pixels."""
        self._bar = round(WINDOW_H - 5 * UNIT_Y)
        inside = row_weights[:, self._bar :]
        self._top = int(np.flatnonzero(inside.any(1))[0])
        self._row_weights = np.ascontiguousarray(inside[self._top :])
        self._column_weights = column_weights.T
        self._above = (1 - self._row_weights.sum(1)).reshape(-1, 1, 1)
        self._kept: dict[tuple[int, int], tuple[slice, np.ndarray]] = {}

    def draw(
        self, frame: np.ndarray, score: float, speed: float, omega: list[float], steering: float, rotation: float
    ) -> None:
        """Put the dashboard into a frame, in place. Units: units/s, rad/s, rad, rad/s."""
        rows = frame[self._top :] * self._above
        values = (speed, *omega)
        lengths = [
            int(WINDOW_H - UNIT_Y * (1 + scale * value)) if abs(value) > 1e-4 else None
            for (_, scale, _), value in zip(UPRIGHT, values)
        ]
        lengths += [
            int((place + scale * value) * UNIT_X) if abs(value) > 1e-4 else None
            for (place, scale, _), value in zip(LEVEL, (steering, rotation))
        ]
        lengths.append(round(score))
        for key in enumerate(lengths):
            if key[1] is None:
                continue
            if key not in self._kept:
                self._kept[key] = self._picture(*key)
            columns, picture = self._kept[key]
            rows[:, columns] += picture
        frame[self._top :] = np.clip(rows - (DIMMED - 0.5) * (1 - self._above), 0, 253)

    def _picture(self, indicator: int, length: int) -> tuple[slice, np.ndarray]:
        """One indicator alone on black, and the columns it fills."""
        screen = pygame.Surface((WINDOW_W, WINDOW_H - self._bar))
        if indicator < len(UPRIGHT):
            place, _, colour = UPRIGHT[indicator]
            left, right, bottom = int(place * UNIT_X), int((place + 1) * UNIT_X), int(WINDOW_H - UNIT_Y)
            box = [(left, length), (right, length), (right, bottom), (left, bottom)]
            pygame.draw.polygon(screen, colour, [(x, y - self._bar) for x, y in box])
        elif indicator < len(UPRIGHT) + len(LEVEL):
            place, _, colour = LEVEL[indicator - len(UPRIGHT)]
            left, top, bottom = int(place * UNIT_X), int(WINDOW_H - 4 * UNIT_Y), int(WINDOW_H - 2 * UNIT_Y)
            box = [(left, top), (length, top), (length, bottom), (left, bottom)]
            pygame.draw.polygon(screen, colour, [(x, y - self._bar) for x, y in box])
        else:
            pygame.font.init()
            text = pygame.font.Font(pygame.font.get_default_font(), 42).render(
                f"{length:04.0f}", True, WHITE, (0, 0, 0)
            )
            place_at = text.get_rect()
            place_at.center = (60, math.floor(WINDOW_H - WINDOW_H * 2.5 / 40.0) - self._bar)
            screen.blit(text, place_at)
        pixels = pygame.surfarray.array3d(screen).transpose(1, 0, 2).astype(np.float32)
        picture = np.einsum("ij,jkc,kl->ilc", self._row_weights, pixels, self._column_weights, optimize=True)
        used = np.flatnonzero(picture.any((0, 2)))
        columns = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
        return columns, np.ascontiguousarray(picture[:, columns])
