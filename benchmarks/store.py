"""What the store costs beside zarr-python and npz, on CarRacing frames.

    python -m benchmarks.store [--frames 12000] [--repeats 5]

Methods take turns within every repeat. Printed: CPU microseconds per frame (user + system, one process, files in
the page cache), median and [min-max] of the repeats, and how many times the store's cost that is. "random" methods
deliver frames in random order: the store and "blocks" in blocks of 64 (what a shuffle pool asks for), the others one
frame at a time (what a naive data loader asks for).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Zstd
from zarr.codecs import Crc32cCodec, ZstdCodec

from factory.collecting.episodes import run_episode
from shared.store.dataset import create_store
from shared.store.layout import fields
from shared.store.reader import Store
from shared.store.schema import Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter
from shared.worlds import make_world
from shared.worlds.base import action_dim

BLOCK = 64
MAX_STEPS = 500
RUN = RunSpec(seed=0, policy="mixed", max_episode_steps=MAX_STEPS)


def collect(frames: int) -> tuple[StoreSpec, list[Episode]]:
    world = make_world("car-racing")
    episodes: list[Episode] = []
    while sum(episode.rows for episode in episodes) < frames:
        episodes.append(run_episode(world, "mixed", 0, len(episodes), MAX_STEPS))
    shape = episodes[0].frame.shape
    spec = StoreSpec(
        world="car-racing",
        frame_shape=(shape[1], shape[2], shape[3]),
        action_dim=action_dim(world.action_space),
        state_names=world.state_names,
        control_rate=world.control_rate,
    )
    return spec, episodes


def columns(episode: Episode) -> dict[str, np.ndarray]:
    return {
        "frame": episode.frame,
        "action": episode.action,
        "reward": episode.reward,
        "flags": np.zeros(episode.rows, np.uint8),
        "episode": np.full(episode.rows, episode.index, np.int64),
        "state": episode.state,
    }


def write_store(path: Path, spec: StoreSpec, episodes: list[Episode]) -> None:
    spec = create_store(path, spec)
    with StreamWriter(path, spec, RUN, 0) as writer:
        for episode in episodes:
            writer.append(episode)


def write_zarr(path: Path, spec: StoreSpec, episodes: list[Episode], sharded: bool) -> None:
    """zarr-python's ``append`` of whole shards, with the same codecs; unsharded, a file holds one inner chunk."""
    arrays: dict[str, Any] = {}
    group = zarr.open_group(path, mode="w")
    for name, field in fields(spec).items():
        big = name == "frame"
        arrays[name] = group.create_array(
            name,
            shape=(0, *field.shape),
            dtype=field.dtype,
            chunks=(spec.inner_rows if big else spec.shard_rows, *field.shape),
            shards=(spec.shard_rows, *field.shape) if big and sharded else None,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
        )
    rows = {name: np.concatenate([columns(episode)[name] for episode in episodes]) for name in arrays}
    for start in range(0, len(rows["frame"]), spec.shard_rows):
        for name, array in arrays.items():
            array.append(rows[name][start : start + spec.shard_rows])


def write_npz(path: Path, episodes: list[Episode]) -> None:
    path.mkdir()
    for episode in episodes:
        np.savez_compressed(path / f"{episode.index}.npz", **columns(episode))


def cpu(job: Callable[[], int]) -> float:
    """CPU microseconds per frame of a job that returns its number of frames."""
    start = time.process_time()
    frames = job()
    return (time.process_time() - start) / frames * 1e6


def compare(title: str, jobs: dict[str, Callable[[], int]], repeats: int) -> None:
    costs: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            costs[name].append(cpu(job))
    print(f"\n{title:34s} us/frame [min-max]            times the store's")
    for name, values in costs.items():
        ratios = [value / ours for value, ours in zip(values, costs["store"], strict=True)]
        spread = f"{statistics.median(values):9.1f} [{min(values):.1f}-{max(values):.1f}]"
        print(f"  {name:32s}{spread:32s}{statistics.median(ratios):8.2f} [{min(ratios):.2f}-{max(ratios):.2f}]")


def writing(root: Path, spec: StoreSpec, episodes: list[Episode], repeats: int) -> None:
    rows = sum(episode.rows for episode in episodes)

    def fresh(write: Callable[[Path], None], name: str) -> Callable[[], int]:
        def job() -> int:
            shutil.rmtree(root / name, ignore_errors=True)
            write(root / name)
            return rows

        return job

    jobs = {
        "store": fresh(lambda path: write_store(path, spec, episodes), "store"),
        "zarr append, shards 4096/64": fresh(lambda path: write_zarr(path, spec, episodes, True), "sharded"),
        "zarr append, chunks of 64": fresh(lambda path: write_zarr(path, spec, episodes, False), "chunks"),
        "npz per episode": fresh(lambda path: write_npz(path, episodes), "npz"),
    }
    compare("writing all fields", jobs, repeats)
    for name in ("store", "sharded", "npz"):
        size = sum(file.stat().st_size for file in (root / name).rglob("*") if file.is_file())
        print(f"  {name}: {size / rows:.0f} bytes per frame")


def reading(root: Path, spec: StoreSpec, episodes: list[Episode], repeats: int) -> None:
    store = Store(root / "store")
    stream = next(iter(store.streams))
    rng = np.random.default_rng(0)
    starts = [int(start) * BLOCK for start in rng.permutation(store.rows // BLOCK)]
    samples = [int(row) for row in rng.integers(0, store.rows, 200)]
    out = np.empty((BLOCK, *spec.frame_shape), np.uint8)
    zstd = Zstd(level=1)
    packed = [zstd.encode(store.read(stream, start, start + BLOCK, "frame")) for start in starts]
    sharded: Any = zarr.open_group(root / "sharded", mode="r")["frame"]
    chunks: Any = zarr.open_group(root / "chunks", mode="r")["frame"]

    def ours() -> int:
        for start in starts:
            store.read(stream, start, start + BLOCK, "frame", out)
        return len(starts) * BLOCK

    def limit() -> int:
        for block in packed:
            zstd.decode(block, out=out)
        return len(packed) * BLOCK

    def blocks(array: Any) -> int:
        for start in starts:
            array[start : start + BLOCK]
        return len(starts) * BLOCK

    def single(array: Any) -> int:
        for row in samples:
            array[row]
        return len(samples)

    def npz() -> int:
        for row in samples[:20]:
            episode = episodes[row % len(episodes)]
            np.load(root / "npz" / f"{episode.index}.npz")["frame"][row % episode.rows]
        return 20

    jobs = {
        "store": ours,
        "zstd in memory (the limit)": limit,
        "zarr blocks, chunks of 64": lambda: blocks(chunks),
        "zarr blocks, shards 4096/64": lambda: blocks(sharded),
        "zarr one by one, chunks of 64": lambda: single(chunks),
        "zarr one by one, shards 4096/64": lambda: single(sharded),
        "npz one by one": npz,
    }
    compare("random frames", jobs, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    spec, episodes = collect(arguments.frames)
    print(f"{sum(episode.rows for episode in episodes)} frames of CarRacing, {spec.frame_shape}, mixed policy")
    with tempfile.TemporaryDirectory() as root:
        writing(Path(root), spec, episodes, arguments.repeats)
        reading(Path(root), spec, episodes, arguments.repeats)


if __name__ == "__main__":
    main()
