"""What else could compress frames: CPU time and bytes per frame of codecs and filters, on the chunks of a store.

    taskset -c 1 python -m benchmarks.codecs STORE [--frames 6400] [--repeats 3]

Chunks are blocks of 64 consecutive frames of one stream, as the store writes them, one encoder call each. *planes*
puts the colours one after the other, *delta* keeps each frame but the first as its difference to the frame before
(modulo 256); both are undone when read, and that counts. Prints CPU time of packing and unpacking and the bytes, as
medians [min-max] over interleaved repeats; the first row is the store's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import numcodecs
import numpy as np
import typer

from benchmarks.training_steps import rows_of, spread
from shared.store.reader import Store

ROWS = 64
Filter = Callable[[np.ndarray], np.ndarray]


def planes(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(frames, -1, 1))


def from_planes(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(frames, 1, -1))


def delta(frames: np.ndarray) -> np.ndarray:
    changed = frames.copy()
    np.subtract(frames[1:], frames[:-1], out=changed[1:])
    return changed


def from_delta(changed: np.ndarray) -> np.ndarray:
    return np.cumsum(changed, axis=0, dtype=np.uint8)


def same(frames: np.ndarray) -> np.ndarray:
    return frames


FILTERS: dict[str, tuple[Filter, Filter]] = {
    "": (same, same),
    ", planes": (planes, from_planes),
    ", delta": (delta, from_delta),
}
CODECS = {
    "zstd 1": numcodecs.Zstd(1),
    "zstd -1": numcodecs.Zstd(-1),
    "zstd -5": numcodecs.Zstd(-5),
    "zstd 3": numcodecs.Zstd(3),
    "lz4": numcodecs.LZ4(),
    "blosc zstd 1": numcodecs.Blosc("zstd", 1, numcodecs.Blosc.NOSHUFFLE),
    "blosc zstd 1, bytes shuffled": numcodecs.Blosc("zstd", 1, numcodecs.Blosc.SHUFFLE),
    "blosc zstd 1, bits shuffled": numcodecs.Blosc("zstd", 1, numcodecs.Blosc.BITSHUFFLE),
    "blosc lz4, bits shuffled": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.BITSHUFFLE),
}
TRIED = [(codec, "") for codec in CODECS] + [
    (codec, kind) for kind in (", planes", ", delta") for codec in ("zstd 1", "zstd -1", "lz4")
]


def chunks(store: Store, frames: int) -> list[np.ndarray]:
    """Blocks of consecutive frames, uint8 (64, H, W, C)."""
    read, found = 0, list[np.ndarray]()
    for ref in store.episodes:
        episode = store.read_episode(ref, "frame")["frame"]
        whole = len(episode) // ROWS * ROWS
        found += [part.copy() for part in np.split(episode[:whole], whole // ROWS)] if whole else []
        read += whole
        if read >= frames:
            break
    return found


def measured(codec: str, kind: str, blocks: list[np.ndarray]) -> tuple[float, float, float]:
    """Microseconds of packing and unpacking, and bytes, per frame. Raises ``AssertionError`` where bits are lost."""
    encoder, (there, back) = CODECS[codec], FILTERS[kind]
    started = time.process_time()
    packed = [encoder.encode(there(block)) for block in blocks]
    middle = time.process_time()
    shape = there(blocks[0]).shape
    opened = [back(np.frombuffer(encoder.decode(part), np.uint8).reshape(shape)) for part in packed]
    ended = time.process_time()
    assert all(np.array_equal(block, again) for block, again in zip(blocks, opened))
    frames = ROWS * len(blocks)
    sizes = sum(memoryview(part).nbytes for part in packed)
    return (middle - started) / frames * 1e6, (ended - middle) / frames * 1e6, sizes / frames


def main(
    store: Annotated[Path, typer.Argument(help="A store with pictures.")], frames: int = 6400, repeats: int = 3
) -> None:
    numcodecs.blosc.set_nthreads(1)
    blocks = chunks(Store(store), frames)
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {tried: [] for tried in TRIED}
    for _ in range(repeats):
        for tried in TRIED:
            found[tried].append(measured(*tried, blocks))
    rows = [["", "packing, µs/frame", "unpacking, µs/frame", "bytes/frame"]]
    for (codec, kind), each in found.items():
        pack, unpack, size = zip(*each)
        rows.append([codec + kind, spread(pack, 1), spread(unpack, 1), f"{median(size):,.0f}"])
    print(f"{len(blocks)} chunks of {ROWS} frames")
    print("\n".join(rows_of(rows)))


if __name__ == "__main__":
    typer.run(main)
