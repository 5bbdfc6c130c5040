"""Writers that die: real processes, real ``kill -9``; nothing committed is lost, nothing wrong is served."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from shared.errors import StoreError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from tests import ROOT
from tests.support.stores import FIELDS, RUN, check_episodes, fast_directory, noise_episode, small_spec, write_range


@pytest.fixture
def memory() -> Iterator[Path]:
    with fast_directory() as directory:
        yield Path(directory)


def writers(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.support.stores", *arguments], cwd=ROOT)


def check_plain_zarr(path: Path, store: Store) -> None:
    """What plain Zarr shows is never more than what is committed, and the same bytes."""
    for name, stream in store.streams.items():
        group = zarr.open_group(path / "data.zarr", mode="r")[name]
        for field in FIELDS:
            found = group[field][:]
            assert len(found) <= stream.rows
            assert np.array_equal(found, store.read(name, 0, len(found), field))


@pytest.mark.parametrize("torn", [False, True], ids=["before each call", "in the middle of each write"])
def test_kill_at_every_step_of_create_commit_and_close(memory: Path, torn: bool) -> None:
    process = writers("every-step", str(memory), *(["torn"] if torn else []))
    assert process.wait() == 0
    steps = sorted(int(file.stem) for file in memory.glob("*.progress"))
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > (50 if torn else 250)
    seen = set()
    for step in steps:
        path = memory / str(step)
        reported = [int(line) for line in (memory / f"{step}.progress").read_text().split()]
        try:
            store = Store(path)
        except StoreError as error:
            assert "there is no store" in str(error) or "is not a store" in str(error)
            assert not reported
        else:
            committed = max((stream.rows for stream in store.streams.values()), default=0)
            assert committed >= max(reported, default=0), f"step {step} lost committed rows"
            check_episodes(store)
            if step % 10 == 0:
                check_plain_zarr(path, store)
            seen.add((committed, len(store.episodes)))
        if step % 10 == 0:  # another writer makes again what is missing
            write_range(path, 1, range(100, 103))
            store = Store(path)
            assert [ref.index for ref in store.episodes] == [100, 101, 102]
            check_episodes(store)
    rows = sum(noise_episode(small_spec(), index).rows for index in range(100, 103))
    assert seen >= {(0, 0), (16, 0), (rows, 3)}, "the kills must fall before, between and after the commits"


def test_random_kills_while_a_reader_follows(memory: Path) -> None:
    path = memory / "store"
    create_store(path, small_spec())
    store = Store(path)
    process = writers("random", str(path), "30", "5")
    checked = 0
    while process.poll() is None:
        store.refresh()
        check_episodes(store, store.episodes[checked:])
        checked = len(store.episodes)
        time.sleep(0.02)
    assert process.returncode == 0
    store.refresh()
    check_episodes(store)
    fresh = Store(path)
    assert fresh.episodes == store.episodes
    assert len(store.streams) > 10
    assert len(store.episodes) > 30
    assert not any(stream.closed for stream in store.streams.values())
    check_plain_zarr(path, store)


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store"
    process = writers("together", str(path), "4", "80")
    while not (path / "dataset.json").exists():
        assert process.poll() in (None, 0)
    store = Store(path)
    while process.poll() is None:
        store.refresh()
        time.sleep(0.02)
    assert process.returncode == 0
    store.refresh()
    assert [ref.index for ref in store.episodes] == list(range(80))
    assert len(store.streams) == 4
    assert all(stream.closed for stream in store.streams.values())
    check_episodes(store)
    assert store.rows == sum(noise_episode(store.spec, index).rows for index in range(80))
    assert not list(path.rglob("*.partial"))


@contextlib.contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """No file may grow past ``limit`` bytes: ``write`` then fails, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_refused_write_keeps_what_is_committed(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec(shard_rows=64))
    writer = StreamWriter(tmp_path, spec, RUN, 0)
    for index in range(4):
        writer.append(noise_episode(spec, index, 40))
    assert writer.rows_committed == 128
    with file_size_limit(3000), pytest.raises(OSError) as caught:
        writer.append(noise_episode(spec, 4, 40))
    assert str(tmp_path) in str(caught.value.filename)
    assert not list(tmp_path.rglob("*.partial"))
    with pytest.raises(StoreError, match="has ended"):
        writer.append(noise_episode(spec, 5, 40))
    writer.close()
    store = Store(tmp_path)
    assert [ref.index for ref in store.episodes] == [0, 1, 2]
    assert store.streams[writer.name].rows == 128
    assert len(list((tmp_path / "data.zarr" / writer.name / "frame").glob("c.*"))) == 2

    with StreamWriter(tmp_path, spec, RUN, 0) as writer:  # the space is back
        for index in range(3, 6):
            writer.append(noise_episode(spec, index, 40))
    store.refresh()
    assert [ref.index for ref in store.episodes] == [0, 1, 2, 3, 4, 5]
    for ref in store.episodes:
        assert np.array_equal(store.read_episode(ref)["frame"], noise_episode(spec, ref.index, 40).frame)


FULL_DISK = """
import sys
from pathlib import Path
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from tests.support.stores import RUN, noise_episode, read_everything, small_spec
path = Path(sys.argv[1])
spec = create_store(path, small_spec(frame_shape=(64, 64, 3)))
writer = StreamWriter(path, spec, RUN, 0)
index, committed = 0, []
try:
    while True:
        writer.append(noise_episode(spec, index, 16))
        committed.append(index)
        index += 1
except OSError as error:
    print(error.strerror, error.filename)
writer.close()
store = read_everything(path)
assert [ref.index for ref in store.episodes] == committed, "what was committed is there"
assert len(committed) > 3
assert not list(path.rglob("*.partial"))
(path / ".ballast").unlink()
with StreamWriter(path, spec, RUN, 0) as writer:
    writer.append(noise_episode(spec, index, 16))
store.refresh()
assert [ref.index for ref in store.episodes] == committed + [index]
read_everything(path)
"""


def test_full_disk(tmp_path: Path) -> None:
    """On a real file system of 2 MiB, mounted for the child process alone."""
    mount = f"mount -t tmpfs -o size=2m none '{tmp_path}'"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this machine does not let an unprivileged process mount a tmpfs of its own")
    script = f"{mount} && head -c 600000 /dev/zero > '{tmp_path}/.ballast' && exec '{sys.executable}' - '{tmp_path}'"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], input=FULL_DISK, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No space left on device")
    assert str(tmp_path) in done.stdout
