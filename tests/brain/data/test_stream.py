"""The stream: right windows, a fixed order, every window once an epoch, whatever the memory."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import time
import weakref
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brain.data.loader import Stream
from brain.data.windows import Batch
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.reader import OnCorrupt, Store
from shared.store.schema import Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter

CPU = torch.device("cpu")


LENGTHS = (300, 40, 7, 600, 120, 3, 257)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("numbered") / "store")


def write_numbered(path: Path, streams: int = 1) -> Path:
    """Frames that show their own episode and row; actions too."""
    spec = create_store(
        path,
        StoreSpec(world="numbered", frame_shape=(2, 2, 1), action_dim=2, control_rate=1, inner_rows=32, shard_rows=256),
    )  # fmt: skip
    run = RunSpec(seed=0, policy="none", max_episode_steps=700)
    writers = [StreamWriter(path, spec, run, worker) for worker in range(streams)]
    for index, rows in enumerate(LENGTHS):
        row = np.arange(rows)
        frame = np.empty((rows, 2, 2, 1), np.uint8)
        frame[:, 0, 0, 0], frame[:, 0, 1, 0], frame[:, 1, :, 0] = index, row // 256, (row % 256)[:, None]
        action = np.stack([np.full(rows, index), row], 1).astype(np.float32)
        none = np.zeros((rows, 0), np.float32)
        episode = Episode(index, index, "none", frame, action, np.zeros(rows, np.float32), none, False, True)
        writers[index % streams].append(episode)
    for writer in writers:
        writer.close()
    return path


def stream(path: Path, on_corrupt: OnCorrupt = "raise", **changes: Any) -> Stream:
    store = Store(path, on_corrupt)
    settings = {"stack": 2, "stride": 3, "steps": 2, "batch": 16, "seed": 0} | changes
    return Stream(store, None, device=CPU, **settings)


def rows_of(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    frames = batch.frames.numpy().astype(int)
    return frames[:, :, 0, 0, 0], frames[:, :, 0, 1, 0] * 256 + frames[:, :, 1, 0, 0]


WINDOWS = {(episode, row) for episode, rows in enumerate(LENGTHS) for row in range(rows - 9)}


def drawn(source: Stream, batches: int) -> list[tuple[int, int]]:
    """Episode and first row of every window of the first batches."""
    found: list[tuple[int, int]] = []
    for number in range(batches):
        episode, row = rows_of(source.batch(number))
        found += zip(episode[:, 0].tolist(), row[:, 0].tolist())
    return found


SMALL = 4 * 1100  # bytes: room for half of the rows, hence several pools


@pytest.mark.parametrize("memory", [1 << 20, SMALL])
def test_windows_are_what_they_say(numbered: Path, memory: int) -> None:
    source = stream(numbered, memory=memory)
    for number in range(40):
        batch = source.batch(number)
        assert batch.frames.dtype == torch.uint8 and batch.frames.shape == (16, 4, 2, 2, 1)
        assert batch.actions.dtype == torch.float32 and batch.actions.shape == (16, 2, 6)
        episode, row = rows_of(batch)
        assert (episode == episode[:, :1]).all(), "a window crosses episodes"
        assert (np.diff(row, axis=1) == 3).all(), "frames are a stride apart"
        actions = batch.actions.numpy().reshape(16, 6, 2)
        assert (actions[:, :, 0] == episode[:, :1]).all()
        np.testing.assert_array_equal(actions[:, :, 1], row[:, 1:2] + np.arange(6))  # from the newest frame of step 0
    source.close()


@pytest.mark.parametrize("memory", [1 << 20, SMALL])
def test_an_epoch_shows_every_window_once(numbered: Path, memory: int) -> None:
    source = stream(numbered, batch=1, memory=memory)
    seen = drawn(source, source.windows)
    assert len(set(seen)) == len(seen) and set(seen) == WINDOWS
    source.close()


@pytest.mark.parametrize("memory", [1 << 20, SMALL])
def test_any_batch_can_be_asked_for_first(numbered: Path, memory: int) -> None:
    """Resuming in the middle, and any number of threads, give the same batches."""
    straight, resumed = stream(numbered, memory=memory), stream(numbered, memory=memory, threads=1)
    batches = [straight.batch(number) for number in range(200)]  # about 2.5 epochs
    for number in (137, 138, 3, 199, 0):
        again = resumed.batch(number)
        assert torch.equal(again.frames, batches[number].frames) and torch.equal(again.actions, batches[number].actions)
    other = stream(numbered, seed=1, memory=memory)
    assert not torch.equal(other.batch(0).frames, batches[0].frames)
    for source in (straight, resumed, other):
        source.close()


def test_a_batch_draws_from_many_episodes(numbered: Path) -> None:
    source = stream(numbered, batch=64)
    assert all(len(set(rows_of(source.batch(number))[0][:, 0])) >= 3 for number in range(10))
    source.close()


def test_too_little_data_is_one_line(numbered: Path) -> None:
    with pytest.raises(TinyJEPAError, match=r"fewer than one batch of 5000: collect more frames") as caught:
        stream(numbered, batch=5000)
    assert "\n" not in str(caught.value)


def test_in_memory_the_order_does_not_depend_on_who_wrote_what(numbered: Path, tmp_path: Path) -> None:
    one, three = stream(numbered), stream(write_numbered(tmp_path / "three", 3))
    assert drawn(one, 150) == drawn(three, 150)
    one.close(), three.close()


@pytest.mark.parametrize("memory", [1 << 20, SMALL])
def test_ranks_share_each_batch_out(numbered: Path, memory: int) -> None:
    """Together they draw what one process does, batch by batch; each epoch's windows once."""
    alone = stream(numbered, batch=12, memory=memory)
    ranks = [stream(numbered, batch=12, memory=memory, rank=rank, world_size=3) for rank in range(3)]
    for number in range(120):  # more than an epoch
        whole, shares = alone.batch(number), [rank.batch(number) for rank in ranks]
        for rank, share in enumerate(shares):
            assert torch.equal(share.frames, whole.frames[rank::3])
            assert torch.equal(share.actions, whole.actions[rank::3])
    assert alone.state(120)["epoch"] and all(rank.state(120) == alone.state(120) for rank in ranks)
    for source in (alone, *ranks):
        source.close()


def test_a_batch_that_ranks_cannot_share_is_one_line(numbered: Path) -> None:
    with pytest.raises(TinyJEPAError, match="a batch of 16 does not divide among 3 processes"):
        stream(numbered, rank=0, world_size=3)


@pytest.mark.parametrize("memory", [1 << 20, SMALL])
def test_a_stream_goes_on_from_its_state(numbered: Path, memory: int) -> None:
    """In the middle of an epoch, for any rank, without going through what was before."""
    straight = stream(numbered, memory=memory, rank=1, world_size=2)
    batches = [straight.batch(number) for number in range(90)]
    for number in (0, 17, 41, 70):
        state = json.loads(json.dumps(stream(numbered, memory=memory, rank=1, world_size=2).state(number)))
        resumed = stream(numbered, memory=memory, rank=1, world_size=2, state=state)
        for later in range(number, number + 20):
            assert torch.equal(resumed.batch(later).frames, batches[later].frames)
        resumed.close()
    straight.close()


def test_a_closed_stream_holds_no_frames(numbered: Path) -> None:
    source = stream(numbered, memory=SMALL)
    source.batch(0)
    held = [weakref.ref(future.result().frames) for future in [*source._pools.values()]]
    assert held and all(frames() is not None for frames in held)
    source.close()
    gc.collect()
    assert not any(frames() is not None for frames in held)
    assert source.damaged == {} and source.windows > 0, "what it says of itself stays"


def test_blocks_take_turns(numbered: Path) -> None:
    """In pools (here of about 11 blocks of 32 rows), every batch has a fair share of each block."""
    source = stream(numbered, memory=SMALL, batch=64)
    first = np.cumsum([0, *LENGTHS[:-1]])
    sizes = np.bincount([(first[episode] + row) // 32 for episode, row in WINDOWS])
    for number in range(40):
        episode, row = rows_of(source.batch(number))
        counts = np.bincount((first[episode[:, 0]] + row[:, 0]) // 32, minlength=len(sizes))
        pool = sizes * (counts > 0)
        assert abs(counts - 64 * pool / pool.sum()).max() < 2.5
    source.close()


def test_observations_without_steps(numbered: Path) -> None:
    source = stream(numbered, stack=3, steps=0)
    batch = source.batch(0)
    assert batch.frames.shape == (16, 3, 2, 2, 1) and batch.actions.shape == (16, 0, 6)
    source.close()


class Held(Store):
    """A store whose reads of frames wait until they are let go."""

    reads = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.begun, self.released = threading.Event(), threading.Event()

    def read(self, stream: str, start: int, stop: int, field: str, out: np.ndarray | None = None) -> np.ndarray:
        if field == "frame":
            self.reads += 1
            self.begun.set()
            self.released.wait(60)
        return super().read(stream, start, stop, field, out)


def test_a_stream_that_is_closed_does_not_read_what_it_has_not_begun(numbered: Path) -> None:
    """As on Ctrl-C while a pool is loaded."""
    store = Held(numbered)
    source = Stream(
        store, None, stack=2, stride=3, steps=2, batch=16, seed=0, device=CPU, threads=1, memory=600 * 4 * 2
    )

    def wait_for_a_batch() -> None:
        with contextlib.suppress(CancelledError):
            source.batch(0)

    waiting = threading.Thread(target=wait_for_a_batch)
    waiting.start()
    assert store.begun.wait(60)
    closing = threading.Thread(target=source.close)
    closing.start()
    with contextlib.suppress(RuntimeError):  # once it is closed
        for _ in range(500):
            source._loader._readers.submit(int)
            time.sleep(0.01)
    store.released.set()
    closing.join()
    waiting.join()
    assert store.reads == 1
