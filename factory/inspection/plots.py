"""A store's coverage as one image: shares of the policies, maps of the state space, histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from factory.inspection.coverage import Coverage, axes_of, coverage, maps_of, sampled_states
from shared.errors import StoreError
from shared.store.reader import Store
from shared.video import BACKGROUND, INK
from shared.worlds.axes import Axis

WIDTH, HEIGHT, COLUMNS = 420, 380, 3
"""Of a panel, pixels, and panels in a row."""
LEFT, TOP, RIGHT, BOTTOM = 62, 40, 22, 54
"""Room around a panel's plot for its text."""
BINS = 60
FAINT, BAR, EMPTY = (70, 70, 70), (209, 127, 47), 38
"""Colours as OpenCV orders them, blue first: lines, bars, and the ground of a plot."""
FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
LONGEST_NAME = 24


def draw_coverage(store: Store, file: Path) -> None:
    """Write the image as a PNG. Raises ``StoreError`` if it cannot be written. The store must have episodes."""
    names = store.spec.state_names
    panels = [_policies(store)]
    head = f"{store.spec.world}: {store.rows:,} frames in {len(store.episodes):,} episodes"
    if names:
        (states, seen), axes = sampled_states(store), axes_of(store.spec)
        found = coverage(axes, names, states, seen)
        shown = {axis.name: _range(axis, axis.values(names, states)) for axis in axes}
        values = {axis.name: axis.values(names, states) for axis in axes}
        for x, y in maps_of(store.spec, axes):
            panels.append(_map(shown[x.name], shown[y.name], values[x.name], values[y.name]))
        panels += [_histogram(shown[axis.name], values[axis.name], found) for axis in axes]
        if found.cells > 1:
            head += f"; {found.hit:,} of {found.cells:,} cells of the state space, perplexity {found.perplexity:,.0f}"
        if seen < len(store.episodes):
            head += f"; states of {seen:,} episodes"
    else:
        head += "; this world names no states"
    columns = min(COLUMNS, len(panels))
    panels += [np.full_like(panels[0], BACKGROUND)] * (-len(panels) % columns)
    rows = [np.concatenate(panels[i : i + columns], 1) for i in range(0, len(panels), columns)]
    title = np.full((34, columns * WIDTH, 3), BACKGROUND, np.uint8)
    _text(title, head, (12, 23), 0.5)
    if not cv2.imwrite(str(file), np.concatenate([title, *rows])):
        raise StoreError(f"cannot write {file}: check the path, its rights and free space")


def _policies(store: Store) -> np.ndarray:
    """Share of the frames of every policy, the largest first."""
    rows: dict[str, int] = {}
    for ref in store.episodes:
        rows[ref.policy] = rows.get(ref.policy, 0) + ref.rows
    panel = _panel("share of frames by policy")
    shares = sorted(((count / sum(rows.values()), name) for name, count in rows.items()), reverse=True)
    pitch = min(46.0, (HEIGHT - TOP - 12) / len(shares))
    for place, (share, name) in enumerate(shares):
        y = int(TOP + pitch * place)
        short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "~"
        if pitch > 24:
            _text(panel, f"{short}  {share:.1%}", (LEFT - 44, y + 14))
            top = y + 20
        else:
            top = y
        cv2.rectangle(panel, (LEFT - 44, top), (LEFT - 44 + max(1, int(share * 370)), y + int(pitch) - 4), BAR, -1)
    return panel


def _range(axis: Axis, values: np.ndarray) -> Axis:
    """The axis with the limits of the plot: its own, or those of the data."""
    if math.isfinite(axis.low):
        return axis
    low, high = float(values.min()), float(values.max())
    spare = 0.5 if low == high else 0.0
    return axis._replace(low=low - spare, high=high + spare)


def _bins(axis: Axis, values: np.ndarray) -> int:
    """``BINS``, or one per integer if all values are integers: more bins would show gaps."""
    whole = axis.high - axis.low
    return int(whole) if whole == int(whole) <= BINS and bool((values == np.round(values)).all()) else BINS


def _map(x: Axis, y: Axis, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Rows per cell of two axes, brighter for more on a logarithmic scale; grey where there are none."""
    counts, _, _ = np.histogram2d(up, across, [_bins(y, up), _bins(x, across)], [[y.low, y.high], [x.low, x.high]])
    brightness = np.log1p(counts) / max(float(np.log1p(counts.max())), 1e-9)
    image = cv2.applyColorMap((55 + 200 * brightness).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    image[counts == 0] = EMPTY
    panel = _panel(f"{_words(y)} over {_words(x)}: {np.count_nonzero(counts) / counts.size:.0%} of this map")
    height, width = HEIGHT - TOP - BOTTOM, WIDTH - LEFT - RIGHT
    large = cv2.resize(image if y.down else image[::-1], (width, height), interpolation=cv2.INTER_NEAREST)
    panel[TOP : TOP + height, LEFT : LEFT + width] = large
    _across(panel, x)
    ends = ((y.low, TOP + 10), (y.high, TOP + height)) if y.down else ((y.high, TOP + 10), (y.low, TOP + height))
    for value, at in ends:
        text = f"{value:.3g}"
        _text(panel, text, (LEFT - 6 - _width(text), at))
    return panel


def _histogram(axis: Axis, values: np.ndarray, found: Coverage) -> np.ndarray:
    """A histogram; the ticks below it are the borders between cells."""
    spread = found.spreads[axis.name]
    bins = _bins(axis, values)
    counts, _ = np.histogram(values, bins, (axis.low, axis.high))
    outside = 1 - counts.sum() / len(values)
    beyond = f", {outside:.1%} outside" if outside >= 0.0005 else ""
    panel = _panel(f"{_words(axis)}: {spread.mean:.3g} +- {spread.std:.2g}{beyond}")
    height, width = HEIGHT - TOP - BOTTOM, WIDTH - LEFT - RIGHT
    panel[TOP : TOP + height, LEFT : LEFT + width] = EMPTY
    for i, count in enumerate(counts):
        left, right = (LEFT + round(at * width / bins) for at in (i, i + 1))
        tall = math.ceil(count / max(int(counts.max()), 1) * (height - 8))
        if tall:
            cv2.rectangle(panel, (left, TOP + height - tall), (right - 2, TOP + height - 1), BAR, -1)
    for edge in axis.edges:
        at = LEFT + round((edge - axis.low) / (axis.high - axis.low) * width)
        cv2.line(panel, (at, TOP + height), (at, TOP + height + 5), INK, 1)
    if axis.band is not None:
        for edge in (axis.band.low, axis.band.high):
            at = LEFT + round((edge - axis.low) / (axis.high - axis.low) * width)
            cv2.line(panel, (at, TOP), (at, TOP + height - 1), INK, 1)
        _text(panel, f"{spread.within or 0:.0%} {axis.band.name}", (LEFT + 6, TOP + 16))
    _across(panel, axis)
    return panel


def _panel(title: str) -> np.ndarray:
    panel = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
    cv2.rectangle(panel, (4, 2), (WIDTH - 4, HEIGHT - 4), FAINT, 1)
    _text(panel, title, (18, 24))
    return panel


def _across(panel: np.ndarray, axis: Axis) -> None:
    """The limits and unit of the horizontal axis, below the plot."""
    low, high = f"{axis.low:.3g}", f"{axis.high:.3g}"
    at = HEIGHT - BOTTOM + 22
    _text(panel, low, (LEFT, at))
    _text(panel, high, (WIDTH - RIGHT - _width(high), at))
    name = _words(axis) + (f" ({axis.unit})" if axis.unit else "")
    _text(panel, name, ((LEFT + WIDTH - RIGHT - _width(name)) // 2, at + 18))


def _words(axis: Axis) -> str:
    return axis.name.replace("_", " ")


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, FONT, SIZE, 1)[0][0])


def _text(image: np.ndarray, text: str, at: Sequence[int], size: float = SIZE) -> None:
    cv2.putText(image, text, (at[0], at[1]), FONT, size, INK, 1, cv2.LINE_AA)
