"""Coverage axes of a world: directions of its state space, divided into cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Band(NamedTuple):
    """A named part of an axis, such as the road, including both ends."""

    name: str
    low: float
    high: float


class Axis(NamedTuple):
    """One direction of a world's state space: one state, or the norm of several."""

    name: str
    unit: str
    states: tuple[str, ...]
    low: float
    high: float
    """What pictures show of it, in ``unit``."""
    edges: tuple[float, ...] = ()
    """Borders between its cells, ascending: N borders make N + 1 cells. Without any it is drawn and not counted."""
    band: Band | None = None
    down: bool = False
    """Whether pictures draw it downwards, as pixels count."""

    def values(self, names: Sequence[str], states: np.ndarray) -> np.ndarray:
        """States (N, S), columns as in ``names``, to float64 (N,) on this axis."""
        columns = [states[:, names.index(name)].astype(np.float64) for name in self.states]
        return columns[0] if len(columns) == 1 else np.sqrt(sum(column**2 for column in columns))


def even(name: str, unit: str, low: float, high: float, cells: int, *, down: bool = False) -> Axis:
    """The state ``name`` divided into ``cells`` of equal width between ``low`` and ``high``."""
    edges = tuple(float(edge) for edge in np.linspace(low, high, cells + 1)[1:-1])
    return Axis(name, unit, (name,), low, high, edges, down=down)


def around(name: str, cells: int) -> Axis:
    """An angle wrapped to [-pi, pi]."""
    return even(name, "rad", -math.pi, math.pi, cells)
