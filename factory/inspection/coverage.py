"""State-space coverage of a dataset, from the privileged state along the axes of its world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.store.reader import Store
from shared.store.schema import StoreSpec
from shared.worlds import WORLDS, World
from shared.worlds.axes import Axis

ROAD_HALF_WIDTH = 40 / 6
"""Half the width of gymnasium's CarRacing track (units)."""
PLACES, PLACE_ROWS = 200, 500
"""Evenly spread places in the store that are sampled, and about how many rows at each."""
MOST_AXES = 6
"""Number of states used for a world without axes: its first ones."""


def on_road(state_names: tuple[str, ...], state: np.ndarray) -> float | None:
    """Share of rows whose ``lateral_offset`` lies within the road; None for a world without that state.

    ``state``: float32 ``(N, S)``, columns as in ``state_names``.
    """
    if "lateral_offset" not in state_names:
        return None
    offset = state[:, state_names.index("lateral_offset")]
    return float(np.mean(np.abs(offset) <= ROAD_HALF_WIDTH))


@dataclass(frozen=True)
class Spread:
    """The distribution along one axis, in its unit."""

    axis: Axis
    mean: float
    std: float
    p95: float
    within: float | None
    """Share of rows within the axis' band, in [0, 1]; None without one"""


@dataclass(frozen=True)
class Coverage:
    """State-space coverage."""

    spreads: dict[str, Spread]
    """by the axis' name"""
    hit: int
    """cells with at least one row"""
    cells: int
    """all cells; 1 if no axis is divided into cells"""
    perplexity: float
    """exp of the entropy over cells: the number of equally used cells with the same entropy; at most ``hit``"""
    episodes: int
    """that were sampled"""

    def line(self, episodes: int) -> str:
        """In one line, for people; ``episodes`` are in the store."""
        parts = [
            f"{s.within:.0%} {s.axis.band.name}" for s in self.spreads.values() if s.axis.band and s.within is not None
        ]
        for spread in self.spreads.values():
            if spread.axis.edges or self.cells == 1:
                unit = f" {spread.axis.unit}" if spread.axis.unit else ""
                parts.append(f"{spread.axis.name.replace('_', ' ')} {spread.mean:.3g} ± {spread.std:.2g}{unit}")
        if self.cells > 1:
            parts.append(f"{self.hit:,} of {self.cells:,} cells (perplexity {self.perplexity:,.0f})")
        if self.episodes < episodes:
            parts.append(f"from {self.episodes:,} of the episodes")
        return ", ".join(parts)


def axes_of(spec: StoreSpec) -> tuple[Axis, ...]:
    """The world's axes; if it has none or is not installed, its first states."""
    world: type[World] | None = None
    if spec.world in WORLDS:
        try:
            world = WORLDS.get(spec.world)
        except ImportError:
            world = None
    named = world.axes(spec.frame_shape[0]) if world else ()
    if named and {state for axis in named for state in axis.states} <= set(spec.state_names):
        return named
    return tuple(Axis(name, "", (name,), -math.inf, math.inf) for name in spec.state_names[:MOST_AXES])


def maps_of(spec: StoreSpec, axes: Sequence[Axis]) -> list[tuple[Axis, Axis]]:
    """Pairs of axes of the two-dimensional maps: the world's own, else the first two axes."""
    by_name = {axis.name: axis for axis in axes}
    named = WORLDS.get(spec.world).maps if spec.world in WORLDS and any(axis.edges for axis in axes) else ()
    return [(by_name[x], by_name[y]) for x, y in named] or ([(axes[0], axes[1])] if len(axes) > 1 else [])


def coverage(axes: Sequence[Axis], state_names: tuple[str, ...], state: np.ndarray, episodes: int) -> Coverage:
    """Metrics that indicate whether data are worth training on.

    ``state``: float32 ``(N, S)``, N and S above 0, of so many ``episodes``.
    """
    spreads, cell, cells = {}, np.zeros(len(state), np.int64), 1
    for axis in axes:
        values = axis.values(state_names, state)
        within = float(np.mean((values >= axis.band.low) & (values <= axis.band.high))) if axis.band else None
        figures = float(values.mean()), float(values.std()), float(np.percentile(values, 95))
        spreads[axis.name] = Spread(axis, *figures, within)
        cell = cell * (len(axis.edges) + 1) + np.digitize(values, np.array(axis.edges))
        cells *= len(axis.edges) + 1
    _, counts = np.unique(cell, return_counts=True)
    share = counts / counts.sum()
    return Coverage(spreads, len(counts), cells, float(np.exp(-np.sum(share * np.log(share)))), episodes)


def sampled_states(store: Store) -> tuple[np.ndarray, int]:
    """float32 ``(N, S)``, the states of an even sample of the store's episodes, and how many episodes that is.

    Short episodes that lie side by side are read in one go. The store holds an episode at least.
    """
    refs = sorted(store.episodes, key=lambda ref: (ref.stream, ref.first))
    parts, done, taken = [], 0, 0
    for start in np.linspace(0, len(refs) - 1, min(PLACES, len(refs))).astype(int):
        begin = max(int(start), done)
        if begin == len(refs):
            break
        first, rows, done = refs[begin], refs[begin].rows, begin + 1
        while rows < PLACE_ROWS and done < len(refs):
            if refs[done].stream != first.stream or refs[done].first != first.first + rows:
                break
            rows, done = rows + refs[done].rows, done + 1
        parts.append(store.read(first.stream, first.first, first.first + rows, "state"))
        taken += done - begin
    return np.concatenate(parts), taken
