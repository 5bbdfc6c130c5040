"""What it costs to follow a store that grows, and how far behind a reader is.

    python -m benchmarks.follow [--seconds 60] [--poll 0.1]

Three writer processes commit shards as fast as they are paced; a reader refreshes every ``--poll`` seconds, reads every
new episode and compares it with what must be there. Then stores of 10, 1,000 and 100,000 shards, whose logs are real
and whose data are not there, in 32 open streams: the CPU time of the first look, of one when nothing is new, and of one
when each of ten streams has a new shard. Interleaved, median [min-max].
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from shared.store.codec import crc32c
from shared.store.dataset import create_store, load_spec
from shared.store.log import EPISODE_COLUMNS, seal
from shared.store.reader import Store
from shared.store.schema import SCHEMA_VERSION, Episode, RunSpec, StoreSpec
from shared.store.source import Local
from shared.store.writer import StreamWriter

RUN = RunSpec(seed=0, policy="none", max_episode_steps=200)
SPEC = StoreSpec(
    world="noise", frame_shape=(32, 32, 3), action_dim=2, state_names=("x",), control_rate=50.0, inner_rows=64,
    shard_rows=256,
)  # fmt: skip
FIELDS = ("frame", "action", "reward", "flags", "episode", "state")
STREAMS = 32


def episode(index: int) -> Episode:
    rng = np.random.default_rng(index)
    rows = 101
    return Episode(
        index, index, "none", rng.integers(0, 256, (rows, 32, 32, 3), np.uint8),
        rng.normal(size=(rows, 2)).astype(np.float32), rng.normal(size=rows).astype(np.float32),
        rng.normal(size=(rows, 1)).astype(np.float32), False, True,
    )  # fmt: skip


def write(path: Path, worker: int, seconds: float) -> None:
    """A writer process: about eight commits a second."""
    end, index = time.monotonic() + seconds, worker
    with StreamWriter(path, create_store(path, SPEC), RUN, worker) as writer:
        while time.monotonic() < end:
            writer.append(episode(index))
            index += 3
            time.sleep(0.05)


def follow(path: Path, seconds: float, poll: float) -> None:
    command = [sys.executable, "-m", "benchmarks.follow", "--write", str(path), "--seconds", str(seconds)]
    create_store(path, SPEC)
    writers = [subprocess.Popen([*command, "--worker", str(worker)]) for worker in range(3)]
    store = Store(path)
    known: dict[str, int] = {}
    lags: list[float] = []
    used, looks, wrong, seen = 0.0, 0, 0, 0
    while any(writer.poll() is None for writer in writers) or not all(s.closed for s in store.streams.values()):
        time.sleep(poll)
        before = time.process_time()
        store.refresh()
        used += time.process_time() - before
        looks += 1
        now = time.time()
        for name, stream in store.streams.items():
            if stream.shards > known.get(name, 0):
                known[name] = stream.shards
                lags.append(now - stream.updated)
        for ref in store.episodes[seen:] if seen <= len(store.episodes) else []:
            expected, found = episode(ref.index), store.read_episode(ref)
            wrong += sum(
                not np.array_equal(found[name], getattr(expected, name)) for name in ("frame", "action", "state")
            )
        seen = len(store.episodes)
    commits = sum(stream.shards for stream in store.streams.values())
    for ref in store.episodes:  # once more, all of it: the list is sorted, so a look may have passed some by
        expected, found = episode(ref.index), store.read_episode(ref)
        wrong += sum(not np.array_equal(found[name], getattr(expected, name)) for name in ("frame", "action", "state"))
    print(
        f"three writers, {seconds:g} s: {commits} commits, {store.rows:,} rows, {wrong} wrong fields of {seen} episodes"
    )
    print(
        f"  lag behind the commit, polling every {poll:g} s: median {statistics.median(lags) * 1e3:.0f} ms, "
        f"max {max(lags) * 1e3:.0f} ms; {used / looks * 1e3:.2f} ms of CPU a look"
    )


def pretend(path: Path, shards: int) -> list[tuple[Path, int, int]]:
    """A store of logs alone; returns each log, the crc of its last line, and its shards."""
    create_store(path, SPEC)
    checksum = load_spec(Local(path)).checksum
    logs = []
    for number in range(STREAMS):
        name = f"host-w{number:02d}-{number:08x}"
        run = {"seed": 0, "policy": "none", "max_episode_steps": 200}
        header = {
            "stream": name, "schema_version": SCHEMA_VERSION, "dataset": checksum, "worker": number, "host": "host",
            "pid": 1, "time": time.time(), "run": run, "episode_columns": EPISODE_COLUMNS,
        }  # fmt: skip
        line, crc = seal(header, 0)
        lines = [line]
        count = len(range(number, shards, STREAMS))
        for i in range(count):
            line, crc = seal(commit(number, i), crc)
            lines.append(line)
        log = path / "log" / f"{name}.jsonl"
        log.write_bytes(b"".join(lines))
        logs.append((log, crc, count))
    return logs


def commit(stream: int, i: int) -> dict[str, object]:
    files = {field: [100_000 + i, crc32c(b"%d" % i)] for field in FIELDS}
    episodes = [[2 * (STREAMS * i + stream) + k, i, "none", i * 256 + 128 * k, 128, 0, 1] for k in range(2)]
    return {"i": i, "rows": 256, "files": files, "episodes": episodes, "time": time.time()}


def polling(root: Path, repeats: int) -> None:
    sizes = (10, 1_000, 100_000)
    made = {size: pretend(root / str(size), size) for size in sizes}
    costs: dict[tuple[int, str], list[float]] = {}

    def note(size: int, what: str, started: float, looks: int = 1) -> None:
        costs.setdefault((size, what), []).append((time.process_time() - started) / looks * 1e3)

    for _ in range(repeats):
        for size in sizes:
            started = time.process_time()
            store = Store(root / str(size))
            note(size, "first", started)
            started = time.process_time()
            for _ in range(50):
                store.refresh()
            note(size, "nothing new", started, 50)
            for n, (log, crc, count) in enumerate(made[size][:10]):
                line, crc = seal(commit(n, count), crc)
                with log.open("ab") as file:
                    file.write(line)
                made[size][n] = log, crc, count + 1
            started = time.process_time()
            assert store.refresh() == 20
            note(size, "ten new", started)
    print(f"\n{'CPU ms of a look, 32 open streams':36s}{'first':>24s}{'nothing new':>24s}{'ten new shards':>24s}")
    for size in sizes:
        cells = [costs[size, what] for what in ("first", "nothing new", "ten new")]
        text = (f"{statistics.median(c):.2f} [{min(c):.2f}-{max(c):.2f}]" for c in cells)
        print(f"  {f'{size:,} shards':34s}" + "".join(f"{cell:>24s}" for cell in text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--poll", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write, arguments.worker, arguments.seconds)
        return
    with tempfile.TemporaryDirectory() as root:
        follow(Path(root) / "live", arguments.seconds, arguments.poll)
        polling(Path(root), arguments.repeats)


if __name__ == "__main__":
    main()
