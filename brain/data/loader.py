"""The data loader: batches by number, gathered before they are needed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from brain.data.epochs import Part, Plan, Shape
from brain.data.follow import Follower
from brain.data.pool import Loader, Pool
from brain.data.state_mode import frame_dtype
from brain.data.windows import Batch, Window
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import Split


class Stream:
    """Shuffled windows of ``stack + steps`` frames, ``stride`` apart, from one split of a store (None: all of it).

    ``memory`` bounds the frames held, in bytes. What fits is read once and perfectly shuffled; otherwise there are two
    pools of half that size, one in use and one being loaded, and so it is for a store that is followed. ``pool`` says
    where they lie: in host memory, or on the GPU, which then gathers. Of ``world_size``
    processes each gives its ``rank``, has all pools, and gathers every ``world_size``-th window of each batch.

    ``state`` is what ``state()`` of an interrupted stream returned. Raises ``TinyJEPAError`` when the episodes hold
    fewer than ``batch`` windows.
    """

    def __init__(
        self,
        store: Store,
        split: Split | None,
        *,
        stack: int,
        stride: int,
        steps: int,
        batch: int,
        seed: int,
        device: torch.device,
        pool: torch.device | None = None,
        memory: int = 4 << 30,
        threads: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        follower: Follower | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        if batch % world_size:
            raise TinyJEPAError(
                f"a batch of {batch} does not divide among {world_size} processes: set objective.batch to a multiple"
            )
        window = Window(stack, stride, steps)
        rows = memory // (int(np.prod(store.spec.frame_shape)) * frame_dtype(store.spec).itemsize)
        shape = Shape(batch, seed, rows if follower is None else rows // 2, rows // 2)
        self._batch = batch
        self._rank, self._world_size = rank, world_size
        self._steps = steps
        self._device = device
        self._follower = follower
        self._plan = Plan(store, split, window, shape, follower, state)
        self._loader = Loader(store, window, seed, pool or torch.device("cpu"), threads or store.readers)
        for stream, shard, *found in (state or {}).get("damaged", []):
            self._loader.damaged[stream, shard] = (found[0], found[1])
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="pool")
        self._gathering = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._pools: dict[tuple[int, int], Future[Pool]] = {}
        self._ahead: dict[int, Future[Batch]] = {}
        self.lost = 0
        """Windows left out because they touch a damaged shard, over all pools so far."""

    @property
    def windows(self) -> int:
        """Windows of the epoch that the stream began with."""
        return self._plan.windows

    @property
    def images_per_batch(self) -> int:
        """Observations of a whole batch: windows times (steps + 1)."""
        return self._batch * (self._steps + 1)

    @property
    def end(self) -> int | None:
        """For a followed store, once it is complete: the batch after the epoch that draws from all of it."""
        return self._plan.end

    @property
    def damaged(self) -> dict[tuple[str, int], str]:
        """Damaged shards that were left out, by stream and number: what is wrong with each."""
        return dict(self._loader.causes)

    def batch(self, number: int) -> Batch:
        """Batch ``number`` (from 0) of this stream, or this rank's share; the next is gathered in the background."""
        future = self._ahead.pop(number, None) or self._gathering.submit(self._gather, number)
        self._ahead = {number + 1: self._gathering.submit(self._gather, number + 1)}
        return future.result()

    def state(self, number: int) -> dict[str, Any]:
        """What another stream needs to go on with batch ``number``, which follows the last one drawn: plain JSON."""
        damaged = [[*shard, *found] for shard, found in sorted(self._loader.damaged.items())]
        return self._plan.state(number) | {"damaged": damaged}

    def behind(self, number: int) -> int:
        """Windows that are committed, and that no batch before ``number`` could have drawn."""
        return self._plan.behind(number)

    def close(self) -> None:
        """Stop the threads, without the reads that have not begun, and let the pools go; what the stream says of itself
        stays."""
        self._plan.closed = True
        self._loader.stop_reading()  # first: whoever gathers waits for all reads of a pool
        for executor in (self._gathering, self._loading):
            executor.shutdown(wait=True, cancel_futures=True)
        self._pools, self._ahead = {}, {}
        self._loader.close()

    def _gather(self, number: int) -> Batch:
        part = self._plan.locate(number)
        position = number - part.first
        key = (part.epoch, part.number)
        wanted = (key, (part.epoch, part.number + 1), (part.epoch + 1, 0))
        past = [future for name, future in self._pools.items() if name not in wanted]
        self._pools = {name: future for name, future in self._pools.items() if name in wanted}
        if key not in self._pools:
            self._pools[key] = self._load(part)
        pool = self._pools[key].result()
        for future in past:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._loader.recycle(future.result(), [pool])
        if self._follower is None or 4 * position >= 3 * part.batches:  # the later, the more will be known
            following = self._plan.locate(part.end)
            name = (following.epoch, following.number)
            if name not in self._pools:
                self._pools[name] = self._load(following, pool)
        return self._loader.gather(pool, position, self._batch, self._device, slice(self._rank, None, self._world_size))

    def _load(self, part: Part, held: Pool | None = None) -> Future[Pool]:
        def load() -> Pool:
            pool = self._loader.load(part, held)
            self.lost += pool.lost
            return pool

        return self._loading.submit(load)
