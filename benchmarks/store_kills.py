"""Writers killed with -9 in the middle of their work, a thousand times: how much is wrong afterwards.

    python -m benchmarks.store_kills                 # 1,000 kills, real processes
    python -m benchmarks.store_kills --kills 100 --seed 3

Every writer opens a stream of its own in one store and is killed from outside somewhere in its first ten episodes. Then
every byte is verified, every visible episode is compared with the one that was made, and gc is run. ``tests/
test_store_crash.py`` has a short version, and kills at every single system call of a commit.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from shared.store.gc import leftovers, remove
from shared.store.reader import Store
from shared.store.verify import verify
from tests.support.stores import check_episodes, die_at_random, fast_directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.perf_counter()
    with fast_directory() as directory:
        path = Path(directory) / "store"
        die_at_random(path, options.kills, options.seed)
        store = Store(path)
        check_episodes(store)
        faults = verify(path)
        freed = remove(found := leftovers(path, older_than=0))
        again = verify(path)
        check_episodes(Store(path))
        rows = sum(stream.rows for stream in store.streams.values())
        seconds = time.perf_counter() - started
        print(
            f"{options.kills} kills, {len(store.streams)} streams, {rows:,} committed rows, "
            f"{len(store.episodes):,} episodes: 0 wrong rows, {len(faults.faults)} faults, "
            f"{len(faults.unknown)} leftover files; gc freed {freed:,} bytes in {len(found)} places, then "
            f"{len(again.faults)} faults and {len(again.unknown)} leftovers; {seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
