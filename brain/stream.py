"""From the store to shuffled batches: a pool of blocks, loader threads, uint8 all the way to the device.

The order is a pure function of (episodes, seed, batch number), so that a run resumes exactly by asking for the
next number. An epoch permutes the blocks (runs of consecutive rows of one episode) and cuts them into *pools* that
fit the memory budget; the windows of a pool are permuted together, so a batch draws from many blocks. A store that
fits as a whole is one pool: it is loaded once, and the shuffle is a perfect one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef

BLOCK_ROWS = 256
"""Rows of a block: four inner chunks, one read."""


@dataclass(frozen=True)
class Batch:
    """B windows of consecutive model steps.

    Observation i of a window is ``frames[:, i : i + stack]``; there are steps + 1 of them, and action i leads from
    observation i to i + 1.
    """

    frames: Tensor
    """uint8 (B, stack + steps, H, W, C), one model step (``stride`` frames) apart, on the device"""
    actions: Tensor
    """float32 (B, steps, stride * A): the actions between, flattened, on the device"""


@dataclass(frozen=True)
class Block:
    """Rows [start, stop) of an episode, of which the first ``windows`` start a window."""

    episode: EpisodeRef
    start: int
    stop: int
    windows: int


@dataclass(frozen=True)
class Pool:
    """Blocks in memory: their rows end to end, and the row at which each window starts."""

    frames: np.ndarray
    actions: np.ndarray
    starts: np.ndarray


class Stream:
    """Shuffled windows of ``stack + steps`` frames, ``stride`` apart, from some episodes of a store.

    ``memory`` bounds the frames held, in bytes (two pools while one is consumed and the next is loaded). Raises
    ``TinyJEPAError`` when the episodes hold fewer than ``batch`` windows.
    """

    def __init__(
        self,
        store: Store,
        episodes: Sequence[EpisodeRef],
        *,
        stack: int,
        stride: int,
        steps: int,
        batch: int,
        seed: int,
        device: torch.device,
        memory: int = 4 << 30,
        threads: int = 4,
    ) -> None:
        self.store = store
        self.batch_size = batch
        self.seed = seed
        self.device = device
        self._frame_offsets = np.arange(stack + steps) * stride
        self._action_offsets = (stack - 1) * stride + np.arange(steps * stride)
        self._steps = steps
        self._action_width = stride * store.spec.action_dim
        span = int(self._frame_offsets[-1]) + 1
        self.blocks = [block for episode in episodes for block in _blocks(episode, span)]
        self.windows = sum(block.windows for block in self.blocks)
        if self.windows < batch:
            raise TinyJEPAError(
                f"{store.path}: {len(episodes)} episodes give {self.windows} windows of {span} frames, fewer than one "
                f"batch of {batch}: collect more frames, or lower the batch with --set"
            )
        frame_bytes = int(np.prod(store.spec.frame_shape))
        rows = sum(block.stop - block.start for block in self.blocks)
        fits = rows * frame_bytes <= memory
        self._pool_rows = rows if fits else max(memory // 2 // frame_bytes, 2 * (BLOCK_ROWS + span))
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="block")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="pool")
        self._gatherer = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._pools: dict[tuple[int, int], Future[Pool]] = {}
        self._ahead: dict[int, Future[Batch]] = {}
        self._epoch_starts = [0]
        self._plan = lru_cache(maxsize=2)(self._plan_epoch)
        self._order = lru_cache(maxsize=2)(self._permute)

    @property
    def images_per_batch(self) -> int:
        """Observations of a batch: windows times (steps + 1)."""
        return self.batch_size * (self._steps + 1)

    def batch(self, number: int) -> Batch:
        """Batch ``number`` (from 0) of this stream; the one after it is gathered in the background."""
        future = self._ahead.pop(number, None) or self._gatherer.submit(self._gather, number)
        self._ahead = {number + 1: self._gatherer.submit(self._gather, number + 1)}
        return future.result()

    def close(self) -> None:
        """Stop the threads."""
        for executor in (self._gatherer, self._loader, self._readers):
            executor.shutdown(wait=True, cancel_futures=True)

    def _gather(self, number: int) -> Batch:
        epoch, pool_number, position = self._locate(number)
        pool = self._pool(epoch, pool_number)
        order = self._order(epoch, pool_number, len(pool.starts))
        starts = pool.starts[order[position * self.batch_size : (position + 1) * self.batch_size]]
        frames = np.take(pool.frames, starts[:, None] + self._frame_offsets, axis=0)
        actions = np.take(pool.actions, starts[:, None] + self._action_offsets, axis=0)
        actions = actions.reshape(self.batch_size, self._steps, self._action_width)
        return Batch(self._to_device(frames), self._to_device(actions))

    def _to_device(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _locate(self, number: int) -> tuple[int, int, int]:
        """The epoch, pool and position within the pool of a batch."""
        while self._epoch_starts[-1] <= number:
            epoch = len(self._epoch_starts) - 1
            self._epoch_starts.append(self._epoch_starts[-1] + sum(self._batches(pool) for pool in self._plan(epoch)))
        epoch = int(np.searchsorted(self._epoch_starts, number, side="right")) - 1
        position = number - self._epoch_starts[epoch]
        for pool_number, pool in enumerate(self._plan(epoch)):
            if position < self._batches(pool):
                return epoch, pool_number, position
            position -= self._batches(pool)
        raise AssertionError("an epoch's batches are the sum of its pools'")

    def _batches(self, blocks: list[Block]) -> int:
        return sum(block.windows for block in blocks) // self.batch_size

    def _plan_epoch(self, epoch: int) -> list[list[Block]]:
        """The epoch's blocks, permuted and cut into pools."""
        pools: list[list[Block]] = [[]]
        rows = 0
        for index in np.random.default_rng([self.seed, epoch]).permutation(len(self.blocks)):
            block = self.blocks[index]
            size = block.stop - block.start
            if rows + size > self._pool_rows and rows:
                pools.append([])
                rows = 0
            pools[-1].append(block)
            rows += size
        if len(pools) == 1:
            return [self.blocks]  # one pool, kept from epoch to epoch
        return [pool for pool in pools if self._batches(pool)]

    def _permute(self, epoch: int, pool_number: int, windows: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, pool_number]).permutation(windows)

    def _pool(self, epoch: int, number: int) -> Pool:
        """A loaded pool; the next one starts to load."""
        plan = self._plan(epoch)
        if len(plan) == 1 and plan[0] is self.blocks:
            wanted = {(0, 0): self.blocks}
            key = (0, 0)
        else:
            key = (epoch, number)
            following = (epoch, number + 1) if number + 1 < len(plan) else (epoch + 1, 0)
            wanted = {key: plan[number], following: self._plan(following[0])[following[1]]}
        self._pools = {
            name: self._pools.get(name) or self._loader.submit(self._load, blocks) for name, blocks in wanted.items()
        }
        return self._pools[key].result()

    def _load(self, blocks: list[Block]) -> Pool:
        sizes = [block.stop - block.start for block in blocks]
        ends = np.cumsum(sizes)
        firsts = ends - sizes
        frames = np.empty((int(ends[-1]), *self.store.spec.frame_shape), np.uint8)
        actions = np.zeros((int(ends[-1]), self.store.spec.action_dim), np.float32)

        def read(block: Block, first: int) -> None:
            rows = slice(first, first + block.stop - block.start)
            start, stop = block.episode.first + block.start, block.episode.first + block.stop
            self.store.read(block.episode.stream, start, stop, "frame", out=frames[rows])
            if self.store.spec.action_dim:
                self.store.read(block.episode.stream, start, stop, "action", out=actions[rows])

        list(self._readers.map(read, blocks, firsts))
        starts = np.concatenate([first + np.arange(block.windows) for block, first in zip(blocks, firsts)])
        return Pool(frames, actions, starts)


def _blocks(episode: EpisodeRef, span: int) -> list[Block]:
    """Cut an episode so that every window of ``span`` rows lies in exactly one block; neighbours overlap."""
    windows = episode.rows - span + 1
    return [
        Block(episode, start, min(start + BLOCK_ROWS, windows) + span - 1, min(BLOCK_ROWS, windows - start))
        for start in range(0, windows, BLOCK_ROWS)
    ]
