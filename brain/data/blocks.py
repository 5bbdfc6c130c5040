"""Episodes cut into blocks: runs of rows that are read, decoded and held together.

Blocks lie on a grid over the rows of each stream, aligned with its inner chunks, so that a chunk at the border of two
episodes is decoded once. A *piece* is what one episode has of one block: the windows that start there. Every window
of the episodes belongs to exactly one piece.
"""

from __future__ import annotations

import numpy as np

from shared.errors import StoreError
from shared.store.quarantine import touches
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, RunSpec, Split

Known = dict[str, int]
"""How many complete episodes of each stream are taken into account; the log's order never changes."""


def known_episodes(store: Store) -> Known:
    """All that the store knows now."""
    return {name: len(stream.episodes) for name, stream in sorted(store.streams.items()) if stream.episodes}


def check_known(store: Store, known: Known) -> Known:
    """``known`` as far as the store has it, without streams that have nothing.

    Raises ``StoreError`` where episodes are missing, unless damage is skipped.
    """
    present = known_episodes(store)
    for name, count in known.items():
        if present.get(name, 0) < count and store.on_corrupt == "raise":
            raise StoreError(
                f"{store.path}: stream {name} has {present.get(name, 0)} episodes, the run was trained on {count}: "
                "restore the store, go on with --on-corrupt skip, or start a new --run"
            )
    return {name: kept for name, count in known.items() if (kept := min(count, present.get(name, 0)))}


def select(store: Store, known: Known, split: Split | None) -> list[EpisodeRef]:
    """The episodes of ``known`` that belong to a split, by run and index, each once.

    Raises what ``check_known`` does.
    """
    known = check_known(store, known)
    found: dict[tuple[RunSpec, int], EpisodeRef] = {}
    for name, count in sorted(known.items()):
        for ref in store.streams[name].episodes[:count]:
            if (split is None or ref.split == split) and not touches(store.set_aside, ref, store.spec):
                found.setdefault((ref.run, ref.index), ref)
    return [found[key] for key in sorted(found)]


class Blocks:
    """The blocks of some episodes; more can be added, and get the next numbers.

    The arrays run over pieces, those of one block next to each other. The episodes of one ``add`` are numbered by run
    and index, their blocks by stream and row; when an episode was made twice, the lowest stream name counts.
    """

    def __init__(self, store: Store, split: Split | None, span: int, grid: int) -> None:
        self._store = store
        self._split = split
        self._span = span
        self._grid = grid
        self._taken: Known = {}
        self._seen: set[tuple[RunSpec, int]] = set()
        self._streams: dict[str, int] = {}
        self.names: list[str] = []
        """Stream names, by the numbers in ``stream``."""
        self.stream = np.empty(0, np.int64)
        self.start = np.empty(0, np.int64)
        """Row in the stream of a piece's first window."""
        self.windows = np.empty(0, np.int64)
        """Windows of each piece; it holds ``windows + span - 1`` rows."""
        self.episode = np.empty(0, np.int64)
        """Number of each piece's episode."""
        self.place = np.empty(0, np.int64)
        """Position of that episode in its stream's list."""
        self.offsets = np.zeros(1, np.int64)
        """Block b is the pieces ``offsets[b]`` up to ``offsets[b + 1]``."""
        self.episodes = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def block_windows(self) -> np.ndarray:
        """int64 (blocks,)"""
        return np.add.reduceat(self.windows, self.offsets[:-1]) if len(self) else self.windows

    @property
    def block_rows(self) -> np.ndarray:
        """int64 (blocks,): rows to hold"""
        return self.block_windows + np.diff(self.offsets) * (self._span - 1)

    def pieces(self, blocks: np.ndarray) -> np.ndarray:
        """Numbers of the pieces of these blocks, block by block."""
        if not len(blocks):
            return np.empty(0, np.int64)
        return np.concatenate([np.arange(self.offsets[b], self.offsets[b + 1]) for b in blocks])

    def add(self, known: Known) -> None:
        """Take in the episodes of ``known`` that are not there yet."""
        found = self._fresh(known)
        self._taken = self._taken | known
        fresh = [found[key] for key in sorted(found)]
        self._seen |= found.keys()
        firsts = np.array([ref.first for _, ref in fresh], np.int64)
        windows = np.array([ref.rows - self._span + 1 for _, ref in fresh], np.int64)
        streams = np.array([self._stream(ref.stream) for _, ref in fresh], np.int64)
        places = np.array([place for place, _ in fresh], np.int64)
        numbers = self.episodes + np.arange(len(fresh))
        self.episodes += len(fresh)
        long = windows > 0
        firsts, windows, streams, numbers, places = (a[long] for a in (firsts, windows, streams, numbers, places))
        if not len(firsts):
            return
        cells = (firsts + windows - 1) // self._grid - firsts // self._grid + 1
        which = np.repeat(np.arange(len(firsts)), cells)
        nth = np.arange(len(which)) - np.repeat(np.cumsum(cells) - cells, cells)
        cell = (firsts // self._grid)[which] + nth
        start = np.maximum(firsts[which], cell * self._grid)
        stop = np.minimum((firsts + windows)[which], (cell + 1) * self._grid)
        names = np.array([self.names[number] for number in streams])
        order = np.lexsort((start, names[which]))
        which, cell, start, stop = which[order], cell[order], start[order], stop[order]
        stream = streams[which]
        borders = np.flatnonzero((np.diff(stream) != 0) | (np.diff(cell) != 0)) + 1
        ends = np.append(borders, len(start)) + len(self.start)
        self.offsets = np.concatenate([self.offsets, ends])
        self.stream = np.concatenate([self.stream, stream])
        self.start = np.concatenate([self.start, start])
        self.windows = np.concatenate([self.windows, stop - start])
        self.episode = np.concatenate([self.episode, numbers[which]])
        self.place = np.concatenate([self.place, places[which]])

    def pending(self, known: Known) -> int:
        """Windows of the episodes of ``known`` that are not there yet."""
        return sum(max(0, ref.rows - self._span + 1) for _, ref in self._fresh(known).values())

    def _fresh(self, known: Known) -> dict[tuple[RunSpec, int], tuple[int, EpisodeRef]]:
        found: dict[tuple[RunSpec, int], tuple[int, EpisodeRef]] = {}
        for name, count in sorted(known.items()):
            taken = self._taken.get(name, 0)
            for place, ref in enumerate(self._store.streams[name].episodes[taken:count], taken):
                key = (ref.run, ref.index)
                if key in self._seen or touches(self._store.set_aside, ref, self._store.spec):
                    continue
                if self._split is None or ref.split == self._split:
                    found.setdefault(key, (place, ref))
        return found

    def _stream(self, name: str) -> int:
        if name not in self._streams:
            self._streams[name] = len(self.names)
            self.names.append(name)
        return self._streams[name]
