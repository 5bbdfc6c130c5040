"""Negatives: for each true transition of a held-out episode, proposals that cannot follow.

A transition starts at the *anchor* (e, t). All kinds share the same anchors wherever the episodes are long enough, so
that their figures compare. A new kind is one function and one ``register`` line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from brain.data.windows import Timing
from brain.evaluation.impossible import Impossible, register, registered
from brain.models.latents import LatentTable

SHIFTS = (-16, -12, -8, -4, 4, 8, 12, 16)
"""Offsets in frames of the ``near`` proposals from the true next observation."""

FAR = 64
"""Minimum number of frames between the true next observation and a ``far`` proposal."""

DRAWS = 32
"""Attempts to draw actions that differ from those taken; if all fail, ``wrong-action`` has no proposal."""

LONG = 4
"""Model steps of the long ``wrong-action`` negative."""


@dataclass(frozen=True)
class Anchors:
    """The transitions to score: episodes (N,) and rows (N,) of their current observations."""

    episode: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Proposal:
    """The proposal that replaces the truth at each anchor; None for a part that stays true.

    ``valid`` (N,) says which anchors have such a proposal. ``observation`` and ``action`` are addresses: episodes
    (N,) and rows (N,). ``clip`` (N, stack) are rows of the anchor's own episode, shown as a clip that was never
    recorded, oldest first.
    """

    valid: np.ndarray
    steps: int = 1
    observation: tuple[np.ndarray, np.ndarray] | None = None
    action: tuple[np.ndarray, np.ndarray] | None = None
    clip: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Negative(Impossible):
    """A negative: one way to replace the truth."""

    propose: Callable[[Anchors, LatentTable, np.random.Generator], Proposal]
    steps: int = 1
    """Model steps from the anchor to the proposal."""


KINDS = registered(Negative)
"""The negatives by name, in the order of the tables."""


def draw_anchors(table: LatentTable, count: int, rng: np.random.Generator) -> Anchors:
    """About ``count`` anchors, evenly split over the episodes, without repetition, ascending within each.

    Rows are those where every kind within an episode has its proposal; in an episode too short for that, those that
    start a transition at all.
    """
    episodes, rows = [], []
    for e, length in enumerate(table.rows):
        share = count * (e + 1) // len(table) - count * e // len(table)
        candidates = np.arange(*_all_kinds(table.timing, int(length)))
        if len(candidates) == 0:
            candidates = np.arange(table.timing.history, length - table.timing.stride)
        chosen = np.sort(rng.choice(candidates, min(share, len(candidates)), replace=False))
        episodes.append(np.full(len(chosen), e))
        rows.append(chosen)
    return Anchors(np.concatenate(episodes).astype(np.int64), np.concatenate(rows).astype(np.int64))


def _all_kinds(timing: Timing, length: int) -> tuple[int, int]:
    """Rows [first, stop) of an episode at which all negatives have proposals."""
    first = max(timing.history - timing.stride - min(SHIFTS), timing.history, timing.stride)
    return first, length - timing.stride - max(*SHIFTS, (LONG - 1) * timing.stride)


def propose(kind: str, anchors: Anchors, table: LatentTable, seed: int) -> Proposal:
    """The proposals of one negative: a pure function of its arguments (each negative has its own generator)."""
    rng = np.random.default_rng([seed, *kind.encode()])
    return KINDS[kind].propose(anchors, table, rng)


def _teleport(anchors: Anchors, table: LatentTable, rng: np.random.Generator) -> Proposal:
    if len(table) < 2:
        return Proposal(np.zeros(len(anchors), bool), observation=(anchors.episode, anchors.row))
    other = _another(anchors.episode, len(table), rng)
    row = rng.integers(table.timing.history, table.rows[other])
    return Proposal(np.ones(len(anchors), bool), observation=(other, row))


def _far(anchors: Anchors, table: LatentTable, rng: np.random.Generator) -> Proposal:
    truth = anchors.row + table.timing.stride
    before = np.maximum(truth - FAR - table.timing.history + 1, 0)
    after = np.maximum(table.rows[anchors.episode] - truth - FAR, 0)
    draw = rng.integers(0, np.maximum(before + after, 1))
    row = np.where(draw < before, table.timing.history + draw, truth + FAR + draw - before)
    valid = before + after > 0
    return Proposal(valid, observation=(anchors.episode, np.where(valid, row, truth)))


def _near(shift: int, anchors: Anchors, table: LatentTable, rng: np.random.Generator) -> Proposal:
    row = anchors.row + table.timing.stride + shift
    valid = (row >= table.timing.history) & (row < table.rows[anchors.episode])
    return Proposal(valid, observation=(anchors.episode, np.where(valid, row, anchors.row)))


def _frozen(anchors: Anchors, table: LatentTable, rng: np.random.Generator) -> Proposal:
    window = table.timing.window(anchors.row)
    clip = np.concatenate([window[:, 1:], anchors.row[:, None]], axis=1)
    return Proposal(np.ones(len(anchors), bool), clip=clip)


def _reversed(anchors: Anchors, table: LatentTable, rng: np.random.Generator) -> Proposal:
    window = table.timing.window(anchors.row)
    valid = anchors.row >= table.timing.stride
    back = np.where(valid, anchors.row - table.timing.stride, anchors.row)
    return Proposal(valid, clip=np.concatenate([window[:, 1:], back[:, None]], axis=1))


def _wrong_action(steps: int, anchors: Anchors, table: LatentTable, rng: np.random.Generator) -> Proposal:
    span = steps * table.timing.stride
    valid = anchors.row + span < table.rows[anchors.episode]
    donors = np.flatnonzero(table.rows > span)
    if table.action.shape[1] == 0 or len(donors) < 2:
        return Proposal(np.zeros(len(anchors), bool), steps, action=(anchors.episode, anchors.row))
    long = np.flatnonzero(valid)  # the chunks of other anchors would end behind their episode
    taken = table.chunks(anchors.episode[long], anchors.row[long], steps)
    other, row = anchors.episode.copy(), np.zeros_like(anchors.row)
    equal = valid.copy()
    for _ in range(DRAWS):  # few actions: another episode often took the same ones
        place = rng.integers(0, len(donors), len(anchors))
        shift = rng.integers(1, len(donors), len(anchors))
        drawn = donors[np.where(donors[place] == anchors.episode, (place + shift) % len(donors), place)]
        start = rng.integers(0, table.rows[drawn] - span)
        other, row = np.where(equal, drawn, other), np.where(equal, start, row)
        equal[long] = (table.chunks(other[long], row[long], steps) == taken).all(axis=(1, 2))
        if not equal.any():
            break
    return Proposal(valid & ~equal, steps, action=(other, row))


def _another(episode: np.ndarray, episodes: int, rng: np.random.Generator) -> np.ndarray:
    """For each episode (N,), another one drawn uniformly."""
    return (episode + rng.integers(1, episodes, len(episode))) % episodes


register(Negative(
    name="teleport", summary="an observation of another episode", principle="continuity", propose=_teleport,
))  # fmt: skip
register(Negative(
    name="far", summary=f"the same episode, at least {FAR} frames away", principle="continuity", propose=_far,
))  # fmt: skip
for _shift in SHIFTS:
    register(Negative(
        name=f"near{_shift:+d}", summary=f"the true next, {_shift:+d} frames", principle="inertia",
        propose=partial(_near, _shift),
    ))  # fmt: skip
register(Negative(name="frozen", summary="the picture stops", principle="inertia", propose=_frozen))
register(Negative(
    name="reversed", summary="the video runs backwards", principle="time", propose=_reversed,
))  # fmt: skip
register(Negative(
    name="wrong-action-1", summary="the true next, but another episode's action", principle="agency",
    propose=partial(_wrong_action, 1),
))  # fmt: skip
register(Negative(
    name=f"wrong-action-{LONG}", summary=f"the truth {LONG} steps on, other actions", principle="agency",
    propose=partial(_wrong_action, LONG), steps=LONG,
))  # fmt: skip

HARD = tuple(f"near{shift:+d}" for shift in SHIFTS)
"""Negatives whose mean AUC is called *hard*."""
