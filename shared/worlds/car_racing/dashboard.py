"""The dashboard under the scene: speed, four wheels, steering, rotation and the score."""

from __future__ import annotations

from functools import cache

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
    """Overwrites a frame's last rows. An indicator's picture is kept by the screen pixel it ends at."""

    def __init__(self, row_weights: np.ndarray, column_weights: np.ndarray) -> None:
        """``row_weights`` ``(size, WINDOW_H)`` and ``column_weights`` ``(size, WINDOW_W)`` of screen pixels."""
        self._bar = round(WINDOW_H - 5 * UNIT_Y)
        inside = row_weights[:, self._bar :]
        self._top = int(np.flatnonzero(inside.any(1))[0])
        self._row_weights = np.ascontiguousarray(inside[self._top :])
        self._column_weights = column_weights.T
        self._above = (1 - self._row_weights.sum(1)).reshape(-1, 1, 1)
        self._kept: dict[tuple[int, int | str], tuple[slice, np.ndarray]] = {}

    def draw(
        self, frame: np.ndarray, score: float, speed: float, omega: list[float], steering: float, rotation: float
    ) -> None:
        """Put the dashboard into a frame, in place. Units: units/s, rad/s, rad, rad/s."""
        rows = frame[self._top :] * self._above
        values = (speed, *omega)
        pictures: list[int | str | None] = [
            int(WINDOW_H - UNIT_Y * (1 + scale * value)) if abs(value) > 1e-4 else None
            for (_, scale, _), value in zip(UPRIGHT, values)
        ]
        pictures += [
            int((place + scale * value) * UNIT_X) if abs(value) > 1e-4 else None
            for (place, scale, _), value in zip(LEVEL, (steering, rotation))
        ]
        pictures.append(f"{score:04.0f}")
        for indicator, shown in enumerate(pictures):
            if shown is None:
                continue
            key = (indicator, shown)
            if key not in self._kept:
                self._kept[key] = self._picture(indicator, shown)
            columns, picture = self._kept[key]
            rows[:, columns] += picture
        frame[self._top :] = np.clip(rows - (DIMMED - 0.5) * (1 - self._above), 0, 253)

    def _picture(self, indicator: int, shown: int | str) -> tuple[slice, np.ndarray]:
        """One indicator alone on black, and the columns it fills."""
        height = WINDOW_H - self._bar
        colour: tuple[int, int, int] = WHITE
        if isinstance(shown, str):
            text = score_font().render(shown, True, WHITE, (0, 0, 0))
            place_at = text.get_rect()
            place_at.center = (60, height // 2)
            left = 0
            screen = pygame.Surface((place_at.right + 1, height))
            screen.blit(text, place_at)
        else:
            if indicator < len(UPRIGHT):
                place, _, colour = UPRIGHT[indicator]
                left, right = int(place * UNIT_X), int((place + 1) * UNIT_X)
                top, bottom = shown - self._bar, int(height - UNIT_Y)
            else:
                place, _, colour = LEVEL[indicator - len(UPRIGHT)]
                left, right = sorted((int(place * UNIT_X), shown))
                top, bottom = int(height - 4 * UNIT_Y), int(height - 2 * UNIT_Y)
            left, right = max(left, 0), min(right, WINDOW_W - 1)
            screen = pygame.Surface((right - left + 1, height))
            pygame.draw.polygon(screen, WHITE, [(0, top), (right - left, top), (right - left, bottom), (0, bottom)])
        pixels = pygame.surfarray.array_red(screen).T / np.float32(255)
        share = self._row_weights @ pixels @ self._column_weights[left : left + pixels.shape[1]]
        used = np.flatnonzero(share.any(0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        return columns, share[:, columns, None] * np.array(colour, np.float32)


@cache
def score_font() -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(pygame.font.get_default_font(), 42)
