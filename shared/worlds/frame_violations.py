"""Violations made of an episode's frames, for worlds whose simulator cannot make its own.

A violation is given the frames before and including the moment, oldest first, and those after it, uint8 (B, H, W, C)
and (A, H, W, C), all one model step apart, and how many frames to make, at most half of A and less than B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import cv2
import numpy as np

from shared.worlds.violations import VISIBLE, FrameViolation

PATCH = 4
"""A thing is looked for in squares of this part of the frame's side."""


def vanishes(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The square that differs most from the frame's usual colour takes the colour around it."""
    frames = after[:count].copy()
    side = max(frames.shape[1] // PATCH, 3)
    for frame in frames:
        usual = np.median(frame.reshape(-1, frame.shape[-1]), axis=0)
        unusual = np.abs(frame - usual).sum(-1).astype(np.float32)
        y, x = np.unravel_index(int(cv2.blur(unusual, (side, side)).argmax()), unusual.shape)
        top, left = max(int(y) - side // 2, 0), max(int(x) - side // 2, 0)
        around = frame[
            max(top - side // 2, 0) : top + side + side // 2, max(left - side // 2, 0) : left + side * 3 // 2
        ]
        frame[top : top + side, left : left + side] = np.median(around.reshape(-1, frame.shape[-1]), axis=0)
    return frames


def repeats(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(before[-1:], count, axis=0)


def jumps(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Time leaps as far ahead as there are frames."""
    return after[len(after) - count :]


def doubles_its_speed(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return after[1 : 2 * count : 2]


def runs_backwards(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return before[-2 : -2 - count : -1]


def _warped(matrix: Callable[[int, int, int], np.ndarray]) -> Callable[..., np.ndarray]:
    """The view moved by an affine map, its edge drawn on; ``matrix`` is given height, width and a sign."""

    def make(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        height, width = after.shape[1:3]
        moved = matrix(height, width, 1 if rng.random() < 0.5 else -1)
        return np.stack(
            [
                cv2.warpAffine(frame, moved, (width, height), borderMode=cv2.BORDER_REPLICATE).reshape(frame.shape)
                for frame in after[:count]
            ]
        )

    return make


def _shift(height: int, width: int, sign: int) -> np.ndarray:
    """An eighth of the width to one side."""
    return np.array([[1, 0, sign * max(width // 8, 2)], [0, 1, 0]], np.float32)


def _turn(height: int, width: int, sign: int) -> np.ndarray:
    """20 degrees around the middle."""
    return cast("np.ndarray", cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), sign * 20, 1.0))


def is_mirrored(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(after[:count, :, ::-1])


def changes_colour(before: np.ndarray, after: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Red becomes green, green blue and blue red; a grey picture becomes its negative."""
    rolled = np.roll(after[:count], 1, axis=-1)
    return rolled if np.abs(rolled.astype(np.int16) - after[:count]).max() >= VISIBLE else 255 - after[:count]


FRAME_VIOLATIONS = (
    FrameViolation("vanishes", "permanence", "the most striking thing is gone", vanishes, framewise=True),
    FrameViolation("changes-colour", "immutability", "all colours are others", changes_colour, framewise=True),
    FrameViolation("is-mirrored", "immutability", "left and right are exchanged", is_mirrored, framewise=True),
    FrameViolation("jumps", "continuity", "it is suddenly much later", jumps),
    FrameViolation("shifts", "continuity", "the view is shifted by an eighth", _warped(_shift), framewise=True),
    FrameViolation("turns", "continuity", "the view is turned by 20 degrees", _warped(_turn), framewise=True),
    FrameViolation("repeats", "inertia", "the picture stands still", repeats),
    FrameViolation("doubles-its-speed", "inertia", "time runs at double speed", doubles_its_speed),
    FrameViolation("runs-backwards", "time", "time runs backwards", runs_backwards),
)
