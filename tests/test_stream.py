"""The stream: right windows, a fixed order, every window once an epoch, whatever the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from brain.stream import Batch, Stream
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames that show their own episode and row; actions too."""
    path = tmp_path_factory.mktemp("numbered") / "store"
    spec = create_store(
        path,
        StoreSpec(world="numbered", frame_shape=(2, 2, 1), action_dim=2, control_rate=1, inner_rows=32, shard_rows=256),
    )  # fmt: skip
    with StreamWriter(path, spec, RunSpec(seed=0, policy="none", max_episode_steps=700), 0) as writer:
        for index, rows in enumerate([300, 40, 7, 600, 120, 3, 257]):
            row = np.arange(rows)
            frame = np.empty((rows, 2, 2, 1), np.uint8)
            frame[:, 0, 0, 0], frame[:, 0, 1, 0], frame[:, 1, :, 0] = index, row // 256, (row % 256)[:, None]
            action = np.stack([np.full(rows, index), row], 1).astype(np.float32)
            none = np.zeros((rows, 0), np.float32)
            writer.append(Episode(index, index, "none", frame, action, np.zeros(rows, np.float32), none, False, True))
    return path


def stream(path: Path, **changes: int) -> Stream:
    store = Store(path)
    settings = {"stack": 2, "stride": 3, "steps": 2, "batch": 16, "seed": 0} | changes
    return Stream(store, None, device=CPU, **settings)  # type: ignore[arg-type]


def rows_of(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    frames = batch.frames.numpy().astype(int)
    return frames[:, :, 0, 0, 0], frames[:, :, 0, 1, 0] * 256 + frames[:, :, 1, 0, 0]


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
    expected = {(e, r) for e, rows in enumerate([300, 40, 7, 600, 120, 3, 257]) for r in range(rows - 9)}
    assert source.windows == len(expected)
    seen = []
    for number in range(source.windows):
        episode, row = rows_of(source.batch(number))
        seen.append((int(episode[0, 0]), int(row[0, 0])))
    assert len(set(seen)) == len(seen) and set(seen) == expected
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


def test_damage_reaches_the_trainer(numbered: Path, tmp_path: Path) -> None:
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(numbered, damaged)
    shard = next(path for path in sorted((damaged / "data.zarr").rglob("c.0*")) if path.parent.name == "frame")
    data = bytearray(shard.read_bytes())
    data[5] ^= 1
    shard.write_bytes(data)
    source = stream(damaged)
    with pytest.raises(TinyJEPAError, match="frame"):
        source.batch(0)
    source.close()
