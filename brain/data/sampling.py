"""Evenly spread samples of episodes, rows and times: one rule for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from brain.data.windows import Timing
from shared.store.schema import EpisodeRef

Item = TypeVar("Item")


def spread(total: int, count: int) -> np.ndarray:
    """``count`` of the places 0 to ``total`` - 1, evenly spread, the first and the last among them; all if too few.

    int64 (min(count, total),), ascending and without repetition. A place between two is rounded down.
    """
    count = max(0, min(count, total))
    return np.linspace(0, total - 1, count).astype(np.int64) if count else np.zeros(0, np.int64)


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` of the items, evenly spread (see ``spread``); all if there are no more."""
    return [items[place] for place in spread(len(items), count)]


def choose(
    refs: Sequence[EpisodeRef], timing: Timing, observations: int | None, *, every: int = 1, steps: int = 1
) -> list[EpisodeRef]:
    """Episodes evenly spread over ``refs`` that hold at most about ``observations``, taking every ``every``-th row.

    Episodes too short for ``steps`` model steps are left out; None takes all the others. At least two episodes are
    kept if there are two.
    """
    usable = [ref for ref in refs if ref.rows >= timing.rows(steps)]
    total = sum((ref.rows - timing.history) // every for ref in usable)
    if observations is None or total <= observations:
        return usable
    return evenly(usable, max(2, len(usable) * observations // total))


def dense(ref: EpisodeRef, timing: Timing) -> np.ndarray:
    """Every row of the episode at which an observation ends."""
    return np.arange(timing.history, ref.rows)


def strided(ref: EpisodeRef, timing: Timing, rng: np.random.Generator) -> np.ndarray:
    """Rows one model step apart, from a random phase: consecutive ones are transitions."""
    phase = int(rng.integers(min(timing.stride, ref.rows - timing.history - timing.stride)))
    return np.arange(timing.history + phase, ref.rows, timing.stride)
