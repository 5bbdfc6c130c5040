"""Strips of violations for the report: the past, the true and impossible continuations, and their energies."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from brain.evaluation.violations import Strip
from brain.reports.style import COLOURS
from shared.video import as_rgb

CELL, GAP, LABEL = 60, 3, 92
"""Sides of a frame, gaps between frames, and the width of the labels, in units of the drawing."""
PAST_SHOWN = 2
"""Number of past frames drawn."""
CHART = 56
"""Height of the energies."""


def strip_svg(strip: Strip) -> str:
    """Both continuations, a row each, and their energies below, on a logarithmic axis: an ``<svg>`` element."""
    past, steps = strip.past[-PAST_SHOWN:], len(strip.true)
    pitch = CELL + GAP
    width, rows = LABEL + (len(past) + steps) * pitch, 2 * (CELL + GAP)
    parts = [f'<svg role="img" viewBox="0 0 {width} {rows + CHART + 4}" font-size="11" fill="currentColor">']
    for row, (label, clip) in enumerate((("happened", strip.true), ("cannot happen", strip.impossible))):
        top = row * (CELL + GAP)
        parts.append(f'<text x="0" y="{top + CELL / 2 + 4}">{label}</text>')
        for column, frame in enumerate([*past, *clip]):
            place = f'x="{LABEL + column * pitch}" y="{top}" width="{CELL}" height="{CELL}"'
            parts.append(f'<image {place} style="image-rendering: pixelated" href="{png(frame)}"/>')
    edge = LABEL + len(past) * pitch - GAP / 2
    parts.append(f'<path d="M{edge} 0V{rows - GAP}" stroke="currentColor" stroke-dasharray="3 3" opacity="0.6"/>')
    parts.append(f'<text x="0" y="{rows + CHART / 2 + 4}">energy</text>')
    height = _axis([*strip.true_energy, *strip.impossible_energy], rows + CHART - 4, rows + 6)
    for name, energies in (("model", strip.true_energy), ("impossible", strip.impossible_energy)):
        points = [(edge + GAP / 2 + k * pitch + CELL / 2, height(value)) for k, value in enumerate(energies)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.6"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{COLOURS[name]}"/>' for x, y in points]
    return "".join([*parts, "</svg>"])


def _axis(values: Sequence[float], low: float, high: float) -> Callable[[float], float]:
    """Heights of energies on a logarithmic axis."""
    logs = [math.log10(max(value, 1e-9)) for value in values]
    bottom, span = min(logs), max(max(logs) - min(logs), 1e-6)
    return lambda value: low + (high - low) * (math.log10(max(value, 1e-9)) - bottom) / span


def png(frame: np.ndarray) -> str:
    """A frame, uint8 (H, W, C), as a data address."""
    _, data = cv2.imencode(".png", cv2.cvtColor(as_rgb(frame), cv2.COLOR_RGB2BGR))
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def drawable(strips: Sequence[Strip]) -> dict[str, str]:
    """Drawn strips by violation; none for a model that sees states in place of pictures."""
    return {strip.name: strip_svg(strip) for strip in strips if strip.true.dtype == np.uint8}
