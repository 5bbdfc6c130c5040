"""What the stream delivers beside other ways to feed a trainer, on the same frames.

    factory collect --workers 1 --frames 40000 --store data/cars
    python -m benchmarks.stream data/cars [--repeats 5] [--pool-frames 12000]

Needs the ``bench`` extra (h5py, pylance). The methods take turns within every repeat; printed are CPU microseconds per
delivered frame (user and system, all threads of the process; files in the page cache), median [min-max], and how many
times the stream's cost that is, repeat by repeat. The stream's pool is smaller than the store, so every epoch decodes
everything again. Then the shuffle: the variance of the mean of a batch of 256, over several features of the frames, as
a multiple of that of independent draws.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
import zarr
from numcodecs import Zstd
from torch.utils.data import DataLoader, Dataset
from zarr.codecs import Crc32cCodec, ZstdCodec

from brain.data.loader import Stream
from shared.store.reader import Store

BATCH = 256
CHUNK = 64
WINDOW = 8
CPU = torch.device("cpu")
Job = Callable[[], int]


class Frames(Dataset[torch.Tensor]):
    """One sample at a time from something that can be indexed: what a first data loader looks like."""

    def __init__(self, array: Any, rows: int, length: int, samples: int) -> None:
        self.array, self.rows, self.length, self.samples = array, rows, length, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, i: int) -> torch.Tensor:
        row = int(np.random.default_rng(i).integers(self.rows - self.length))
        return torch.from_numpy(np.array(self.array[row : row + self.length]))


def naive(array: Any, rows: int, length: int, batches: int, batch: int = BATCH) -> Job:
    def job() -> int:
        loader = DataLoader(Frames(array, rows, length, batches * batch), batch_size=batch)
        return sum(found.shape[0] * found.shape[1] for found in loader)

    return job


def streamed(store: Store, pool_frames: int, steps: int, split: Any = None) -> Job:
    """An epoch of the stream, after a first one."""
    bytes_each = int(np.prod(store.spec.frame_shape))
    batch = BATCH if steps == 0 else BATCH // (steps + 1)
    stream = Stream(
        store, split, stack=1, stride=1, steps=steps, batch=batch, seed=0, device=CPU,
        memory=2 * pool_frames * bytes_each, threads=2,
    )  # fmt: skip
    epoch = stream.windows // batch
    for number in range(epoch // 4):
        stream.batch(number)
    state = {"next": epoch // 4}

    def job() -> int:
        first = state["next"]
        state["next"] = first + epoch
        delivered = sum(stream.batch(number).frames.shape[:2].numel() for number in range(first, first + epoch))
        concurrent.futures.wait(stream._pools.values())  # what it loads ahead is its own cost, not the next method's
        return delivered

    return job


def pooled(read: Callable[[int, np.ndarray], None], blocks: int, block: int, pool_frames: int, shape: Any) -> Job:
    """The same kind of pool over another source of blocks: filled block by block, drawn in random order."""
    per_pool = pool_frames // block
    frames = torch.empty((per_pool * block, int(np.prod(shape))), dtype=torch.uint8)
    view = frames.numpy().reshape(-1, *shape)

    def job() -> int:
        order, delivered = np.random.default_rng(0).permutation(blocks), 0
        for first in range(0, blocks - per_pool + 1, per_pool):
            for slot, b in enumerate(order[first : first + per_pool]):
                read(int(b), view[slot * block : (slot + 1) * block])
            draws = torch.from_numpy(np.random.default_rng(first).permutation(len(frames)))
            for start in range(0, len(draws) - BATCH + 1, BATCH):
                delivered += len(torch.index_select(frames, 0, draws[start : start + BATCH]))
        return delivered

    return job


def random_rows(rows: int, batches: int, take: Callable[[np.ndarray], Any]) -> Job:
    def job() -> int:
        rng = np.random.default_rng(0)
        for _ in range(batches):
            found = take(np.sort(rng.choice(rows, BATCH, replace=False)))
            assert len(found) == BATCH
        return batches * BATCH

    return job


def encode_video(path: Path, frames: np.ndarray) -> None:
    """As LeRobot does: yuv420p, a key frame every second frame."""
    with av.open(path, "w") as container:
        video: Any = container.add_stream("libx264", rate=50, options={"crf": "23", "g": "2", "bf": "0"})
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())


def seek(path: Path, t: int) -> np.ndarray:
    with av.open(path) as container:
        video = container.streams.video[0]
        assert video.time_base is not None
        container.seek(int(t / 50 / video.time_base), stream=video)
        for frame in container.decode(video):
            if round(float(frame.time or 0) * 50) >= t:
                return frame.to_ndarray(format="rgb24")
    raise AssertionError(f"frame {t} of {path} is not there")


def alternatives(root: Path, store: Store, pool_frames: int) -> tuple[dict[str, Job], dict[str, Job]]:
    """Jobs of single frames, and of windows."""
    import h5py
    import lance
    import pyarrow as pa

    shape = store.spec.frame_shape
    episodes = [store.read_episode(ref, "frame")["frame"] for ref in store.episodes]
    length = min(map(len, episodes))
    frames = np.concatenate(episodes)
    rows = len(frames) // CHUNK * CHUNK
    frames = frames[:rows]

    array: Any = zarr.create_array(
        root / "chunks.zarr", shape=frames.shape, dtype="u1", chunks=(CHUNK, *shape),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
    )  # fmt: skip
    array[:] = frames
    np.save(root / "raw.npy", frames)
    raw = np.load(root / "raw.npy", mmap_mode="r")
    zstd = Zstd(level=1)
    packed = [zstd.encode(np.ascontiguousarray(frames[i : i + CHUNK])) for i in range(0, rows, CHUNK)]
    out = np.empty((CHUNK, *shape), np.uint8)
    for index, episode in enumerate(episodes):
        np.savez_compressed(root / f"{index}.npz", frame=episode[:length])
    with h5py.File(root / "frames.h5", "w") as file:
        file.create_dataset("frame", data=frames, chunks=(1, *shape), compression="lzf")
    h5 = h5py.File(root / "frames.h5")["frame"]
    pngs = [cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes() for frame in frames]
    lance.write_dataset(pa.table({"png": pa.array(pngs, pa.binary())}), str(root / "png.lance"))
    table = lance.dataset(str(root / "png.lance"))
    del pngs
    for index, episode in enumerate(episodes[:10]):
        encode_video(root / f"{index}.mp4", episode)

    def limit() -> int:
        for chunk in packed:
            zstd.decode(chunk, out=out)
        return rows

    def npz(block: int, target: np.ndarray) -> None:
        target[...] = np.load(root / f"{block}.npz")["frame"]

    def video() -> int:
        rng = np.random.default_rng(0)
        for _ in range(40):
            seek(root / f"{rng.integers(10)}.mp4", int(rng.integers(length)))
        return 40

    def take_pngs(picks: np.ndarray) -> list[Any]:
        found = table.take(picks.tolist(), columns=["png"])["png"]
        return [cv2.imdecode(np.frombuffer(png.as_buffer(), np.uint8), cv2.IMREAD_COLOR) for png in found]

    single = {
        "stream": streamed(store, pool_frames, 0),
        "stream, train split only": streamed(store, pool_frames, 0, "train"),
        "stream, all in memory": streamed(store, store.rows, 0),
        "zstd decode in memory, alone": limit,
        "the same through a pool (the limit)": pooled(
            lambda b, target: zstd.decode(packed[b], out=target), len(packed), CHUNK, pool_frames, shape
        ),
        "npz episodes through a pool": pooled(npz, len(episodes), length, pool_frames, shape),
        "zarr chunks of 64, DataLoader": naive(array, rows, 1, 1),
        "Lance, PNG, batched takes": random_rows(rows, 8, take_pngs),
        "HDF5, lzf, a chunk a frame": random_rows(rows, 4, lambda picks: h5[picks]),
        "video (LeRobot-like, lossy)": video,
        "raw memmap, batched takes": random_rows(rows, 40, lambda picks: raw[picks]),
    }
    windows = {
        "stream": streamed(store, pool_frames, WINDOW - 1),
        "zarr chunks of 64, DataLoader": naive(array, rows, WINDOW, 2, 64),
        "raw memmap, DataLoader": naive(raw, rows, WINDOW, 20, 64),
    }
    return single, windows


def compare(title: str, jobs: dict[str, Job], repeats: int) -> None:
    costs: dict[str, list[float]] = {name: [] for name in jobs}
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            used, started = time.process_time(), time.perf_counter()
            frames = job()
            costs[name].append((time.process_time() - used) / frames * 1e6)
            rates[name].append(frames / (time.perf_counter() - started))
    print(f"\n{title:38s} CPU us/frame [min-max]       frames/CPU s   times the stream's [min-max]")
    for name, values in costs.items():
        ratios = [value / ours for value, ours in zip(values, costs["stream"], strict=True)]
        middle = statistics.median(values)
        spread = f"{middle:9.2f} [{min(values):.2f}-{max(values):.2f}]"
        ratio = f"{statistics.median(ratios):8.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"
        print(f"  {name:36s}{spread:30s}{1e6 / middle:11,.0f}  {ratio}")


def features(frames: np.ndarray, basis: np.ndarray | None = None) -> np.ndarray:
    """float64 (N, 64): 8x8 grey pictures of uint8 (N, H, W, 3); projected on ``basis`` if given."""
    n, height, width, _ = frames.shape
    small = frames[..., 1].reshape(n, 8, height // 8, 8, width // 8).mean((2, 4)).reshape(n, 64)
    return small if basis is None else small @ basis


def shuffling(store: Store, pools: list[int], epochs: int) -> None:
    """Variance of the batch mean of the first 8 principal components, over that of independent draws."""
    everything = np.concatenate([features(store.read_episode(ref, "frame")["frame"]) for ref in store.episodes])
    basis = np.linalg.svd(everything - everything.mean(0), full_matrices=False)[2][:8].T
    expected = (everything @ basis).var(0) / BATCH
    rng = np.random.default_rng(0)
    count = epochs * (len(everything) // BATCH)
    drawn = np.stack([(everything[rng.integers(len(everything), size=BATCH)] @ basis).mean(0) for _ in range(count)])
    print(
        f"\nvariance of the mean of {BATCH}, over that of independent draws ({count} batches, {len(everything)} frames)"
    )
    print(f"  {'independent draws':28s}{(drawn.var(0) / expected).mean():6.2f}")
    ordered = np.stack([(everything[i * BATCH : (i + 1) * BATCH] @ basis).mean(0) for i in range(count // epochs)])
    print(f"  {'in the order of the store':28s}{(ordered.var(0) / expected).mean():6.2f}")
    for frames in pools:
        values = []
        for seed in range(3):
            stream = Stream(
                store, None, stack=1, stride=1, steps=0, batch=BATCH, seed=seed, device=CPU,
                memory=2 * frames * int(np.prod(store.spec.frame_shape)), threads=2,
            )  # fmt: skip
            each = stream.windows // BATCH * epochs // 3
            means = [features(stream.batch(n).frames[:, 0].numpy(), basis).mean(0) for n in range(each)]
            values.append(float((np.stack(means).var(0) / expected).mean()))
            stream.close()
        name = f"stream, pools of {frames:,}" if 2 * frames < store.rows else "stream, all in memory"
        print(f"  {name:28s}{statistics.median(values):6.2f} [{min(values):.2f}-{max(values):.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pool-frames", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=12, help="for the shuffle")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(arguments.store)
    print(f"{store.rows:,} frames of {store.spec.world}, {store.spec.frame_shape}, batch {BATCH}")
    with tempfile.TemporaryDirectory() as root:
        single, windows = alternatives(Path(root), store, arguments.pool_frames)
        compare("random frames", single, arguments.repeats)
        compare(f"windows of {WINDOW}", windows, arguments.repeats)
    shuffling(store, [4_000, 8_000, 16_000, store.rows], arguments.epochs)


if __name__ == "__main__":
    main()
