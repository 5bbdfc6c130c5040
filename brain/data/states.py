"""A world's true state as numbers that a network can take, and what the world declares of its states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.store.schema import StoreSpec
from shared.worlds import world_class
from shared.worlds.base import Subset


@dataclass(frozen=True)
class States:
    """The named states of a store, S of them. A state is one *column*, an angle two: its sine and its cosine.

    ``States.of(store.spec)`` takes what the world declares (see ``shared.worlds.World``).
    """

    names: tuple[str, ...]
    angles: tuple[str, ...] = ()
    """on a circle, rad"""
    headline: tuple[str, ...] = ()
    """those whose probes are main figures"""
    absolute: tuple[str, ...] = ()
    """those that say where things are and not how they move"""
    subset: Subset | None = None
    """rows that are probed on their own"""

    @classmethod
    def of(cls, spec: StoreSpec) -> States:
        world, names = world_class(spec.world), spec.state_names
        subset = world.typical if world.typical and set(world.typical.states) <= set(names) else None
        headline = tuple(name for name in world.headline_states if name in names) or names[:2]
        return cls(names, world.angles, headline, world.absolute_states, subset)

    def targets(self, name: str, values: np.ndarray) -> np.ndarray:
        """The columns of one state (N,): float (N, 1), or sine and cosine (N, 2)."""
        if name in self.angles:
            return np.stack([np.sin(values), np.cos(values)], axis=1)
        return values[:, None]

    def columns(self, states: np.ndarray, without: Sequence[str] = ()) -> np.ndarray:
        """States (N, S) to float64 (N, S'): the columns of all states but those in ``without``."""
        parts = [
            self.targets(name, states[:, i].astype(np.float64))
            for i, name in enumerate(self.names)
            if name not in without
        ]
        return np.concatenate(parts, 1) if parts else np.zeros((len(states), 0))

    @property
    def owner(self) -> np.ndarray:
        """int64 (S',): the state that each column belongs to."""
        return np.repeat(np.arange(len(self.names)), [2 if name in self.angles else 1 for name in self.names])

    def typical(self, states: np.ndarray) -> np.ndarray | None:
        """Mask (N,) of the rows of ``subset`` among states (N, S); None where the world declares none."""
        if self.subset is None:
            return None
        return self.subset.rows(states[:, [self.names.index(name) for name in self.subset.states]])
