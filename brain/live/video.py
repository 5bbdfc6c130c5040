"""The live view as an MP4, without a browser: frames beside energy curves, impossible events marked."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from brain.evaluation.interventions import INTERVENTIONS
from brain.live.loaded import Loaded
from brain.live.scene import Moment, Scene
from shared.video import as_rgb, write_video

WIDTH, HEIGHT, WORLD, TILE = 1280, 480, 320, 96
CHART = (380, 56, WIDTH - 24, HEIGHT - 62)
"""Left, top, right, bottom, in pixels."""
SHOWN = 300
"""Number of frames in the curves."""
FASTEST = 50.0
"""Maximum frames per second of the video."""

BACKGROUND, INK, SOFT, GRID = (22, 30, 40), (231, 237, 243), (154, 168, 182), (48, 60, 74)
TRUE, OTHER, MARKED, GOOD = (98, 172, 242), (255, 125, 102), (240, 181, 64), (95, 208, 160)


def record(loaded: Loaded, file: Path, seconds: float, seed: int) -> list[str]:
    """Plays every intervention in turn, evenly over ``seconds`` of the world's time; returns a line per event.

    Deterministic for a seed. Raises ``OSError`` where the file cannot be written.
    """
    scene = Scene(loaded, seed)
    rate = min(loaded.spec.control_rate, FASTEST)
    write_video(file, _pictures(scene, max(2, round(seconds * loaded.spec.control_rate))), rate)
    lines = []
    for event in scene.events:
        seen = "not noticed" if event.seen is None else f"noticed after {event.seen - event.start} frames"
        over = "" if event.over is None else f", calm again after {event.over - event.start}"
        lines.append(f"{INTERVENTIONS[event.name].label} at frame {event.start}: peak {event.peak:.3g}, {seen}{over}")
    return lines


def _pictures(scene: Scene, frames: int) -> Iterator[np.ndarray]:
    interventions = [name for name in INTERVENTIONS if scene.why_not(name) is None]
    waiting = deque(round(frames * (n + 1) / (len(interventions) + 1)) for n in range(len(interventions)))
    names = deque(interventions)
    moments: deque[Moment] = deque(maxlen=SHOWN)
    low, high = _range(scene)
    for number in range(frames):
        if waiting and number >= waiting[0] and len(scene.past) > scene.intervention_frames and scene.play(names[0]):
            waiting.popleft()
            names.popleft()
        moments.append(scene.advance())
        for energy in (moments[-1].energy, moments[-1].elsewhere_energy):
            if energy is not None and energy > 0:
                low, high = min(low, math.log10(energy) - 0.1), max(high, math.log10(energy) + 0.2)
        yield _picture(scene, moments, low, high)


def _range(scene: Scene) -> tuple[float, float]:
    """Powers of ten at the start of the energy axis."""
    threshold = scene.loaded.calibration.threshold
    middle = math.log10(threshold) if threshold else 0.0
    return middle - 0.5, middle + 0.5


def _picture(scene: Scene, moments: deque[Moment], low: float, high: float) -> np.ndarray:
    """RGB uint8 (HEIGHT, WIDTH, 3)."""
    picture = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
    now, threshold = moments[-1], scene.loaded.calibration.threshold
    _paste(picture, now.frame, 20, 20, WORLD)
    alarm = threshold is not None and now.energy is not None and now.energy > threshold
    verdict = "" if now.energy is None or threshold is None else "IMPOSSIBLE" if alarm else "plausible"
    tiles = {"foreseen": now.drawn, "elsewhere": now.elsewhere}
    for n, (name, frame) in enumerate(tiles.items()):
        if frame is not None:
            _paste(picture, frame, 20 + n * (TILE + 12), 364, TILE)
            _text(picture, name, (20 + n * (TILE + 12), HEIGHT - 6), SOFT, 0.38)
    _text(picture, verdict, (244, 392), OTHER if alarm else GOOD, 0.55)
    _text(picture, f"frame {now.number}", (244, 416), SOFT, 0.42)
    _text(picture, INTERVENTIONS[now.intervention].label if now.intervention else "", (244, 440), MARKED, 0.5)
    _chart(picture, moments, threshold, low, high)
    _text(picture, f"{scene.loaded.spec.world}: energy of what comes next", (CHART[0], 28), INK, 0.55)
    for n, (name, colour) in enumerate((("true next state", TRUE), ("teleported", OTHER), ("threshold", SOFT))):
        left = CHART[0] + n * 190
        cv2.line(picture, (left, HEIGHT - 24), (left + 24, HEIGHT - 24), colour, 2, cv2.LINE_AA)
        _text(picture, name, (left + 32, HEIGHT - 20), SOFT, 0.45)
    return picture


def _chart(picture: np.ndarray, moments: deque[Moment], threshold: float | None, low: float, high: float) -> None:
    left, top, right, bottom = CHART
    newest = moments[-1].number

    def place(number: int, energy: float) -> tuple[int, int]:
        share = (math.log10(max(energy, 1e-12)) - low) / (high - low)
        x = left + (number - newest + SHOWN - 1) / (SHOWN - 1) * (right - left)
        return round(x), round(bottom - min(max(share, 0), 1) * (bottom - top))

    for power in range(math.ceil(low), math.floor(high) + 1):
        y = place(newest, 10.0**power)[1]
        cv2.line(picture, (left, y), (right, y), GRID, 1)
        _text(picture, f"{10.0**power:g}", (left - 38, y + 4), SOFT, 0.38)
    last = ""
    marked = np.zeros(WIDTH, bool)
    for moment in moments:
        if moment.intervention:
            x = place(moment.number, 1.0)[0]
            marked[max(x - 2, left) : x + 2] = True
            if moment.intervention != last:
                _text(picture, INTERVENTIONS[moment.intervention].label, (min(x, right - 90), top - 6), MARKED, 0.42)
        last = moment.intervention or ""
    band = picture[top:bottom, marked]
    picture[top:bottom, marked] = (0.75 * band + 0.25 * np.array(MARKED)).astype(np.uint8)
    if threshold is not None:
        y = place(newest, threshold)[1]
        for x in range(left, right, 14):
            cv2.line(picture, (x, y), (min(x + 8, right), y), SOFT, 1)
    curves = (("elsewhere_energy", OTHER, 1), ("energy", TRUE, 2))
    for name, colour, thickness in curves:
        for before, after in pairwise(moments):
            one, two = getattr(before, name), getattr(after, name)
            if one is not None and two is not None:
                ends = place(before.number, one), place(after.number, two)
                cv2.line(picture, *ends, colour, thickness, cv2.LINE_AA)


def _paste(picture: np.ndarray, frame: np.ndarray, left: int, top: int, side: int) -> None:
    """Draw a frame, uint8 (H, W, C), into a square of ``side`` pixels."""
    scale = side / max(frame.shape[:2])
    shrinking = scale < 1
    method = cv2.INTER_AREA if shrinking else cv2.INTER_NEAREST
    large = cv2.resize(as_rgb(frame), None, fx=scale, fy=scale, interpolation=method)[:side, :side]
    picture[top : top + large.shape[0], left : left + large.shape[1]] = large


def _text(picture: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, int, int], size: float) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
