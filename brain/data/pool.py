"""Blocks in memory: read by several threads, ordered, and gathered into batches."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from brain.data.epochs import Part
from brain.data.state_mode import frame_dtype
from brain.data.windows import Batch, Window
from shared.errors import DamageError, StoreError
from shared.store.reader import Store

MOST_BUFFERS = 16

PieceKey = tuple[str, int, int]
"""Stream, first row and rows of a piece."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows of a part's pieces, end to end, and its windows in the order in which they are drawn."""

    frames: Tensor
    """uint8 (R or more, H * W * C), in host memory or on the GPU; float32 where a frame is coordinates"""
    actions: Tensor
    """float32 (R or more, A), beside them; (R, 0) where windows have no actions"""
    starts: Tensor
    """int64 (W,): the row at which each window starts"""
    places: dict[PieceKey, int]
    """The first row of each piece."""
    lost: int
    """Windows that lie in damaged shards; others are drawn twice in their stead."""


class Buffers:
    """Host memory for batches, used again once nothing refers to it: fresh pages cost more than the copy into them."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def empty(self, rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """An uninitialised (rows, width) tensor. Its memory is taken again when the last tensor or array on it dies."""
        size = rows * width * dtype.itemsize
        for i in range(len(self._arrays)):
            if self._arrays[i].nbytes == size and sys.getrefcount(self._arrays[i]) == 2:  # the list and the call
                return torch.from_numpy(self._arrays[i]).view(dtype).view(rows, width)
        array = np.empty(size, np.uint8)
        if len(self._arrays) < MOST_BUFFERS:
            self._arrays.append(array)
        return torch.from_numpy(array).view(dtype).view(rows, width)


class Loader:
    """Loads pools. ``device`` is where they lie; frames are decoded on the host, straight into place if that is it.

    With a store opened for skipping, a damaged shard costs all windows that touch it, from the part on in which the
    damage was found.
    """

    def __init__(self, store: Store, window: Window, seed: int, device: torch.device, threads: int) -> None:
        self._store, self._window, self._seed, self._device = store, window, seed, device
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="block")
        self._staging = threading.local()
        self._lock = threading.Lock()
        self._with_actions = window.steps > 0
        self._frames, self._actions = (torch.from_numpy(rows).to(device) for rows in (window.frames, window.actions))
        self._buffers = Buffers()
        self._spare: list[tuple[Tensor, Tensor]] = []
        self.damaged: dict[tuple[str, int], tuple[int, int]] = {}
        """Damaged shards by stream and number, and the epoch and part in which each was found."""
        self.causes: dict[tuple[str, int], str] = {}

    def stop_reading(self) -> None:
        """Drop the reads that have not begun. The pool under way then fails, as does every later one."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._spare, self._buffers = [], Buffers()

    def load(self, part: Part, held: Pool | None = None) -> Pool:
        """The pool of a part; what ``held`` has of it is copied, not read. Raises ``StoreError`` for damaged data."""
        blocks = part.source
        pieces = blocks.pieces(part.blocks)
        names = [blocks.names[number] for number in blocks.stream[pieces]]
        firsts, windows = blocks.start[pieces], blocks.windows[pieces]
        rows = windows + self._window.span - 1
        places = np.cumsum(rows) - rows
        keys: list[PieceKey] = list(zip(names, firsts.tolist(), rows.tolist()))
        when = (part.epoch, part.number)
        if held is not None and all(key in held.places for key in keys):
            frames, actions = held.frames, held.actions
            places = np.array([held.places[key] for key in keys], np.int64)
        else:
            frames, actions = self._fill(keys, places, held, when)
        starts = np.repeat(places, windows) + _within(windows)
        starts, lost = self._without_damage(starts, keys, windows, part)
        order = self._order(part, blocks.episode[pieces], firsts, windows)
        return Pool(frames, actions, torch.from_numpy(starts[order]).to(self._device), dict(zip(keys, places)), lost)

    def recycle(self, pool: Pool, others: list[Pool]) -> None:
        """Let a later pool have the memory of one that is used no more, unless one of the others shares it."""
        if all(pool.frames is not other.frames for other in others):
            self._spare = [(pool.frames, pool.actions)]

    def gather(self, pool: Pool, position: int, batch: int, device: torch.device, share: slice) -> Batch:
        """The windows ``share`` of batch ``position`` of a pool, on ``device``."""
        starts = pool.starts[position * batch : (position + 1) * batch][share]
        batch = len(starts)
        width = self._store.spec.action_dim * self._window.stride
        shape = (batch, -1, *self._store.spec.frame_shape)
        frames = self._take(pool.frames, starts, self._frames, device).view(shape)
        actions = self._take(pool.actions, starts, self._actions, device)
        return Batch(frames, actions.reshape(batch, self._window.steps, width))

    def _take(self, rows: Tensor, starts: Tensor, offsets: Tensor, device: torch.device) -> Tensor:
        """``rows`` at every start plus every offset: (B * offsets, ...), on ``device``."""
        index = (starts[:, None] + offsets).flatten()
        pin = device.type == "cuda" and self._device.type == "cpu"
        if device.type == "cpu" and rows.shape[1]:
            out = self._buffers.empty(len(index), rows.shape[1], rows.dtype)
        else:
            out = torch.empty((len(index), rows.shape[1]), dtype=rows.dtype, device=self._device, pin_memory=pin)
        torch.index_select(rows, 0, index, out=out)
        return out.to(device, non_blocking=pin)

    def _fill(
        self, keys: list[PieceKey], places: np.ndarray, held: Pool | None, when: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Frames and actions of the pieces, copied from ``held`` or read."""
        spec, total = self._store.spec, int(places[-1] + keys[-1][2])
        if self._spare and len(self._spare[0][0]) >= total:
            frames, actions = self._spare.pop()
        else:
            self._spare.clear()
            room = total + total // 16  # the next part is seldom larger, and can then have the same memory
            width, dtype = int(np.prod(spec.frame_shape)), frame_dtype(spec)
            frames = torch.empty((room, width), dtype=dtype, device=self._device)
            actions = torch.zeros((room, spec.action_dim if self._with_actions else 0), device=self._device)
        reads: list[list[int | str]] = []
        for (stream, first, rows), place in zip(keys, places.tolist()):
            if held is not None and (stream, first, rows) in held.places:
                other = held.places[stream, first, rows]
                frames[place : place + rows] = held.frames[other : other + rows]
                actions[place : place + rows] = held.actions[other : other + rows]
            elif reads and reads[-1][0] == stream and reads[-1][2] == first and reads[-1][4] == place:
                reads[-1][2], reads[-1][4] = first + rows, place + rows  # one read for neighbours
            else:
                reads.append([stream, first, first + rows, place, place + rows])
        jobs = [self._readers.submit(self._read, frames, actions, when, *read) for read in reads]  # type: ignore[arg-type]
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
        return frames, actions

    def _read(
        self, frames: Tensor, actions: Tensor, when: tuple[int, int], stream: str, start: int, stop: int,
        place: int, _end: int,
    ) -> None:  # fmt: skip
        if self._store.on_corrupt == "raise":
            self._read_rows(frames, actions, stream, start, stop, place)
            return
        shard_rows = self._store.spec.shard_rows
        while start < stop:
            shard = start // shard_rows
            end = min(stop, (shard + 1) * shard_rows)
            if (stream, shard) not in self.causes:
                try:
                    self._read_rows(frames, actions, stream, start, end, place)
                except DamageError as error:
                    with self._lock:
                        self.causes[stream, shard] = str(error)
                        self.damaged.setdefault((stream, shard), when)
            start, place = end, place + end - start

    def _read_rows(self, frames: Tensor, actions: Tensor, stream: str, start: int, stop: int, place: int) -> None:
        rows, shape = stop - start, self._store.spec.frame_shape
        if self._device.type == "cpu":
            self._store.read(stream, start, stop, "frame", frames[place : place + rows].numpy().reshape(rows, *shape))
        else:
            staging = getattr(self._staging, "rows", None)
            if staging is None or len(staging) < rows:
                staging = self._staging.rows = torch.empty((rows, frames.shape[1]), dtype=frames.dtype, pin_memory=True)
            self._store.read(stream, start, stop, "frame", staging[:rows].numpy().reshape(rows, *shape))
            frames[place : place + rows] = staging[:rows].to(self._device)
        if actions.shape[1]:
            values = self._store.read(stream, start, stop, "action")
            actions[place : place + rows] = torch.from_numpy(values).to(self._device)

    def _without_damage(
        self, starts: np.ndarray, keys: list[PieceKey], windows: np.ndarray, part: Part
    ) -> tuple[np.ndarray, int]:
        """Put other windows in place of those that touch a damaged shard, so that no batch number moves."""
        when = (part.epoch, part.number)
        bad: dict[str, list[int]] = {}
        for (stream, shard), found in list(self.damaged.items()):
            if found <= when:
                bad.setdefault(stream, []).append(shard)
        if not bad:
            return starts, 0
        size, span = self._store.spec.shard_rows, self._window.span
        alive = np.ones(len(starts), bool)
        for (stream, first, _), count, end in zip(keys, windows.tolist(), np.cumsum(windows).tolist()):
            rows = first + np.arange(count)
            for shard in bad.get(stream, []):
                alive[end - count : end] &= (rows + span <= shard * size) | (rows >= (shard + 1) * size)
        if not alive.any():
            raise StoreError(
                f"{self._store.path}: every shard that a pool of {len(starts):,} windows needs is damaged, the first: "
                f"{next(iter(self.causes.values()), 'found before')}"
            )
        rng = np.random.default_rng([self._seed, *when, 1])
        return np.where(alive, starts, rng.choice(starts[alive], len(starts))), int((~alive).sum())

    def _order(self, part: Part, episode: np.ndarray, firsts: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """A permutation of the windows, which are given piece by piece.

        With everything in memory, any permutation of the windows by episode and row, whatever stream they lie in.
        Otherwise the blocks take turns: each is spread evenly over the part's batches, in random order, which keeps the
        mean of a batch as steady as independent draws would.
        """
        rng = np.random.default_rng([self._seed, part.epoch, part.number])
        total = int(windows.sum())
        if part.whole:
            sizes = np.cumsum(windows) - windows
            pieces = np.lexsort((firsts, episode))
            canonical = np.repeat(sizes[pieces], windows[pieces]) + _within(windows[pieces])
            return canonical[rng.permutation(total)]
        sizes = np.diff(part.source.offsets)[part.blocks]
        blocks = np.repeat(np.repeat(np.arange(len(part.blocks)), sizes), windows)
        counts = np.bincount(blocks)
        shuffled = np.lexsort((rng.random(total), blocks))
        turn = np.empty(total)
        turn[shuffled] = _within(counts)
        return np.argsort((turn + rng.random(total)) / counts[blocks], kind="stable")


def _within(counts: np.ndarray) -> np.ndarray:
    """0 to count - 1 for each count, end to end."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
