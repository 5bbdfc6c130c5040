"""Which blocks a batch draws from: a pure function of (store contents, seed, batch number), the same in every process.

An epoch permutes the blocks and cuts them into *parts*, each as large as a pool in memory. A store that grows is
looked at again before every part: what is new then joins the blocks that this epoch has not drawn from, and these are
permuted again. What was known at each part is written down (``state``), so the order can be had again.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from brain.data.blocks import Blocks, Known, check_known, known_episodes
from brain.data.follow import Follower, look
from brain.data.windows import Window
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import Split

LONGEST_BLOCK = 1024
"""Rows of a block, at most: more save less than 2 % of decoding, and cost shuffling."""
KEPT_PARTS = 4


@dataclass(frozen=True, eq=False)
class Part:
    """A pool's share of an epoch: batches [first, first + batches) are drawn from ``blocks``."""

    epoch: int
    number: int
    first: int
    batches: int
    source: Blocks
    blocks: np.ndarray
    whole: bool
    """The epoch has no other part: everything is in memory at once, and shuffled together."""

    @property
    def end(self) -> int:
        return self.first + self.batches


@dataclass(frozen=True)
class Shape:
    """What an order depends on, beside the episodes."""

    batch: int
    seed: int
    whole_rows: int
    """An epoch of at most this many rows is one part."""
    part_rows: int
    """Otherwise a part has at most this many, but always enough for a batch."""


class Epoch:
    """One pass over the blocks, cut into parts as they are asked for."""

    def __init__(self, number: int, first: int, blocks: Blocks, known: Known, before: Known, shape: Shape) -> None:
        self.number, self.first, self.end = number, first, first
        self.blocks, self.known, self.before = blocks, known, before
        self.added: list[tuple[int, Known]] = []
        """What joined in before which part."""
        self.parts = 0
        """Parts asked for so far."""
        self._shape = shape
        self._fresh: list[tuple[int, int]] = []
        order = np.random.default_rng([shape.seed, number]).permutation(len(blocks))
        self._line = _Line(order, blocks)

    @property
    def latest(self) -> Known:
        """All that has joined in."""
        known = dict(self.known)
        for _, more in self.added:
            known |= more
        return known

    @property
    def last_batch(self) -> int:
        """The batch after the epoch's last, if nothing joins in."""
        total, at, first = self.end, self._line.at, not self.parts
        while at < len(self._line.order):
            at, batches = self._line.cut(at, self._shape, first)
            total, first = total + batches, False
        return total

    def add(self, known: Known) -> None:
        """Let new episodes join the blocks that are left."""
        before = len(self.blocks)
        self.blocks.add(known)
        self.added.append((self.parts, known))
        fresh = np.arange(before, len(self.blocks))
        rng = np.random.default_rng([self._shape.seed, self.number, self.parts])
        self._line = _Line(rng.permutation(np.concatenate([self._line.left, fresh])), self.blocks)

    def next_part(self) -> Part | None:
        """The next part, or None when what is left does not fill a batch."""
        stop, batches = self._line.cut(self._line.at, self._shape, not self.parts)
        if not batches:
            return None
        chosen = self._line.order[self._line.at : stop]
        self._line.at = stop
        whole = not self.parts and stop == len(self._line.order)
        part = Part(self.number, self.parts, self.end, batches, self.blocks, chosen, whole)
        self._fresh.append((part.first, self._new(self.blocks.pieces(chosen))))
        self.parts += 1
        self.end += batches
        return part

    def undrawn(self, number: int) -> int:
        """Windows that no earlier epoch drew from, and no part of this one that begins before batch ``number``."""
        return self._new(slice(None)) - sum(windows for first, windows in self._fresh if first < number)

    def _new(self, pieces: np.ndarray | slice) -> int:
        limits = np.array([self.before.get(name, 0) for name in self.blocks.names], np.int64)
        place, stream, windows = self.blocks.place[pieces], self.blocks.stream[pieces], self.blocks.windows[pieces]
        return int(windows[place >= limits[stream]].sum())


class _Line:
    """Blocks in the order in which they are drawn."""

    def __init__(self, order: np.ndarray, blocks: Blocks) -> None:
        self.order = order
        self.at = 0
        self._rows = np.cumsum(blocks.block_rows[order])
        self._windows = np.cumsum(blocks.block_windows[order])

    @property
    def left(self) -> np.ndarray:
        return self.order[self.at :]

    def cut(self, at: int, shape: Shape, first: bool) -> tuple[int, int]:
        """Where the part that begins at ``at`` ends, and its batches."""
        if at >= len(self.order):
            return at, 0
        rows, windows = (int(total[at - 1]) if at else 0 for total in (self._rows, self._windows))
        stop = len(self.order)
        left = int(self._rows[-1]) - rows
        if not (first and left <= shape.whole_rows):
            fair = left / -(-left // shape.part_rows)  # parts of one size: no small one, badly shuffled, at the end
            near = int(np.searchsorted(self._rows, rows + fair)) + 1
            within = int(np.searchsorted(self._rows, rows + shape.part_rows, side="right"))
            enough = int(np.searchsorted(self._windows, windows + shape.batch)) + 1
            stop = min(max(min(near, within), enough), stop)
        return stop, (int(self._windows[stop - 1]) - windows) // shape.batch


class Plan:
    """The parts of all epochs, in order. Thread-safe.

    ``state`` is what an earlier plan returned: the order of that epoch is then the same again, whatever the store has
    gained since. Raises ``TinyJEPAError`` when there are fewer windows than a batch, ``StoreError`` when the store has
    lost episodes that ``state`` names.
    """

    def __init__(
        self,
        store: Store,
        split: Split | None,
        window: Window,
        shape: Shape,
        follower: Follower | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._store, self._split, self._span, self._shape = store, split, window.span, shape
        self._follower = follower
        self.closed = False
        """Nothing more is asked for."""
        self._lock = threading.RLock()
        self._known: Known = {}
        self._complete = False
        self._epochs: deque[Epoch] = deque(maxlen=2 * KEPT_PARTS)
        self._parts: deque[Part] = deque(maxlen=KEPT_PARTS)
        self._recorded: list[tuple[int, Known]] = []
        self._recorded_parts = 0
        self.end: int | None = None
        """The batch after the last, once the collection has finished: when one epoch over everything is done."""
        inner = store.spec.inner_rows
        rows = min(shape.part_rows // shape.batch, LONGEST_BLOCK)  # as many blocks as a batch has windows: one of each
        self._grid = max(rows // inner, 1) * inner
        self._look()
        if state is None:
            self._begin(0, 0, {})
        else:
            self._restore(state)
        epoch = self._epochs[-1]
        self.windows = int(epoch.blocks.windows.sum())
        """Windows of the epoch it began with."""
        if epoch.last_batch == epoch.first:
            raise TinyJEPAError(
                f"{store.path}: {epoch.blocks.episodes} episodes give {self.windows} windows of {window.span} frames, "
                f"fewer than one batch of {shape.batch}: collect more frames, or lower the batch with --set"
            )

    def locate(self, number: int) -> Part:
        """The part that batch ``number`` belongs to."""
        with self._lock:
            if number < (self._parts[0] if self._parts else self._epochs[-1]).first:
                if self._follower is not None:
                    raise ValueError(f"batch {number} lies behind what a followed stream still knows")
                self._epochs.clear()
                self._parts.clear()
                self._begin(0, 0, {})
            while not self._parts or self._parts[-1].end <= number:
                self._append()
            return next(part for part in self._parts if part.first <= number < part.end)

    def state(self, number: int) -> dict[str, Any]:
        """What is needed to have the order from batch ``number`` on again: plain JSON."""
        with self._lock:
            self.locate(number)  # what it draws from is decided from now on
            epoch = self._epoch(number)
            return {
                "epoch": epoch.number,
                "first": epoch.first,
                "parts": epoch.parts,
                "known": epoch.known,
                "added": [[part, known] for part, known in epoch.added],
                "before": epoch.before,
                "end": self.end,
            }

    def behind(self, number: int) -> int:
        """Windows that are committed, and that no pool which began before batch ``number`` holds or held."""
        with self._lock:
            epoch = self._epoch(number)
            return epoch.undrawn(number) + self._epochs[-1].blocks.pending(known_episodes(self._store))

    def _epoch(self, number: int) -> Epoch:
        return next(epoch for epoch in reversed(self._epochs) if epoch.first <= number)

    def _append(self) -> None:
        """Plan the next part."""
        if self._follower is not None:
            self._look()
        epoch = self._epochs[-1]
        if epoch.parts < self._recorded_parts:
            joining = [known for part, known in self._recorded if part == epoch.parts]
        elif epoch.parts:
            latest = epoch.latest
            joining = [{name: count for name, count in self._known.items() if latest.get(name) != count}]
        else:
            joining = []
        for known in filter(None, joining):
            epoch.add(known)
        part = epoch.next_part()
        if part is None:
            self._begin(epoch.number + 1, epoch.end, epoch.latest)
            part = self._epochs[-1].next_part()
            assert part is not None, "an epoch has a batch at least"
        self._parts.append(part)

    def _begin(self, number: int, first: int, before: Known) -> None:
        last = self._epochs[-1] if self._epochs else None
        if last is not None and not last.added and last.known == self._known:
            blocks = last.blocks
        else:
            blocks = Blocks(self._store, self._split, self._span, self._grid)
            blocks.add(self._known)
        self._recorded, self._recorded_parts = [], 0
        self._epochs.append(Epoch(number, first, blocks, self._known, before, self._shape))
        if self._complete and self.end is None:
            self.end = self._epochs[-1].last_batch

    def _look(self) -> None:
        """See what is committed."""
        self._known, self._complete = look(self._store, self._follower, "plan", lambda: self.closed)

    def _restore(self, state: dict[str, Any]) -> None:
        added = [(part, check_known(self._store, known)) for part, known in state["added"]]
        self._complete = False
        self._known = check_known(self._store, state["known"])
        self._begin(state["epoch"], state["first"], state["before"])
        self._recorded, self._recorded_parts = added, state["parts"]
        self.end = state["end"]
        for _, known in added:
            self._known = self._known | known
