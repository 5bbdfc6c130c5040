"""Power cuts while a store is written and a run is trained: hundreds of crash states of a real disk.

    sudo python -m benchmarks.power_cuts                   # 400 cuts
    sudo python -m benchmarks.power_cuts --cuts 100 --seed 3 --file-system xfs        # or btrfs
    sudo python -m benchmarks.power_cuts --careless        # the control: fsync does nothing, and much must be lost

Three processes work on a disk that records every write and flush (``benchmarks.recording_disk``): two commit episodes
to one store, and say after each commit how many rows are safe; the third begins run after run, and says so, and after
every checkpoint. Then the power is cut at random moments: what had been flushed is there, of the rest a random part. On
each such disk, mounted anew, every row that was called safe must be there and right, every run that was called begun
must open, and no checkpoint may be broken or older than the last that was announced; then the work must go on.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import recording_disk as disk
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.gc import leftovers, remove
from shared.store.reader import Store
from shared.store.verify import set_damaged_aside, verify
from shared.store.writer import StreamWriter
from tests.support.stores import RUN, check_episodes, noise_episode, small_spec

WRITERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long the three work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file-system", choices=[*disk.FORMAT], default="ext4")
    parser.add_argument("--careless", action="store_true", help="fsync does nothing")
    parser.add_argument("--work", nargs=2, metavar=("POINT", "TOLD"), help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        if options.careless:
            os.fsync = os.fdatasync = lambda fd: None
        work(Path(options.work[0]), Path(options.work[1]), options.worker, options.seconds)
        return
    if why := disk.lacking(options.file_system):
        print(f"power_cuts: not on this box: {why}", file=sys.stderr)
        sys.exit(2)
    started = time.perf_counter()
    found = cut(options.cuts, options.seconds, options.seed, options.file_system, options.careless)
    print(
        ", ".join(f"{number:,} {what}" for what, number in found.items()) + f"; {time.perf_counter() - started:.0f} s"
    )
    sys.exit(any(number for what, number in found.items() if what.startswith("LOST")) and not options.careless)


def cut(cuts: int, seconds: float, seed: int, kind: str = "ext4", careless: bool = False) -> dict[str, int]:
    """Let the three work, cut the power ``cuts`` times, and count what was found; ``LOST`` begins what must be 0."""
    rng, counts = random.Random(seed), collections.Counter[str]()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        with disk.recorded(folder, kind) as (point, told):
            arguments = ["--work", str(point), str(told), "--seconds", str(seconds)]
            command = [sys.executable, "-m", "benchmarks.power_cuts", *arguments, *["--careless"] * careless]
            workers = [subprocess.Popen([*command, "--worker", str(i)]) for i in range(WRITERS + 1)]
            if any(worker.wait() for worker in workers):
                raise RuntimeError("a worker failed")
        entries = disk.read_log(folder / "log")
        told_at = [i for i, entry in enumerate(entries) if entry.kind == disk.TOLD]
        moments = sorted(rng.randrange(told_at[0] + 1, told_at[-1] + 2) for _ in range(cuts))  # while they work
        counts["flushes recorded"] = sum(entry.kind == disk.FLUSH for entry in entries)
        counts["writes"] = sum(entry.kind == disk.WRITE for entry in entries)
        counts["cuts"] = cuts
        for state, said in disk.crash_states(entries, kind, moments, rng):
            with disk.powered_up(folder, state) as point:
                promised = dict(line.decode().split() for line in said)
                check(point, {name: int(number) for name, number in promised.items()}, counts)
    for what in ("rows", "runs", "checkpoints", "faults", "unable to go on"):
        counts.setdefault(f"LOST {what}", 0)
    return dict(counts)


def work(point: Path, told: Path, worker: int, seconds: float) -> None:
    """One of the processes: the last trains, the others write to the store. Acknowledgements are ``NAME NUMBER``."""
    with (told / f"told-{worker}").open("wb", buffering=0) as told_file:

        def tell(name: str, number: int) -> None:
            os.pwrite(told_file.fileno(), f"{name} {number}".encode().ljust(64), 0)

        if worker == WRITERS:
            from benchmarks.power_runs import train

            (point / "go").touch()
            train(point, tell, time.monotonic() + seconds)
            return
        while not (point / "go").exists():  # the other must import torch
            time.sleep(0.01)
        end = time.monotonic() + seconds
        spec = create_store(point / "store", small_spec())
        index = worker
        while True:  # at least one stream each, however slow the machine is
            with StreamWriter(point / "store", spec, RUN, worker) as writer:
                for _ in range(50):
                    writer.append(noise_episode(spec, index))
                    tell(writer.name, writer.rows_committed)
                    index += WRITERS
            tell(writer.name, writer.rows_committed)
            if time.monotonic() > end:
                return


def check(point: Path, promised: dict[str, int], counts: collections.Counter[str]) -> None:
    """Compare what is present with what was acknowledged, and check that work can resume."""
    rows = {name: number for name, number in promised.items() if "-w" in name}
    counts["rows promised"] += sum(rows.values())
    try:
        store = Store(point / "store")
    except TinyJEPAError:
        store = None
    there = {name: stream.rows for name, stream in store.streams.items()} if store else {}
    counts["LOST rows"] += sum(max(0, number - there.get(name, 0)) for name, number in rows.items())
    if store:
        try:
            check_episodes(store)
            found = verify(point / "store")
            documents = sum(fault.file.endswith("zarr.json") for fault in found.faults)
            counts["Zarr documents repaired"] += documents
            lost = set_damaged_aside(point / "store", found)
            counts["LOST faults"] += len(found.faults) - documents + len(lost) + len(verify(point / "store").faults)
        except (TinyJEPAError, AssertionError, OSError):
            counts["LOST faults"] += 1
    try:
        spec = create_store(point / "store", small_spec())
        with StreamWriter(point / "store", spec, RUN, 99) as writer:
            writer.append(noise_episode(spec, 10**6))
        remove(leftovers(point / "store", older_than=0))
        check_episodes(Store(point / "store"))
    except (TinyJEPAError, AssertionError, OSError):
        counts["LOST unable to go on"] += 1
    from benchmarks.power_runs import check_runs

    check_runs(point, promised, counts)


if __name__ == "__main__":
    main()
