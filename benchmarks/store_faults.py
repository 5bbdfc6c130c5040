"""Single faults in committed files: each must be reported by ``verify`` and raise while reading.

    python -m benchmarks.store_faults                # 400 of each kind

Kinds: a flipped bit, a truncated, holed (zeros), empty, missing, or swapped file (for one of another shard, stream or
field). ``tests/shared/store/test_verify.py`` has a short version.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from shared.errors import StoreError
from shared.store.dataset import create_store
from shared.store.verify import verify
from shared.store.writer import StreamWriter
from tests.shared.store.test_verify import FAULTS
from tests.support.stores import RUN, fast_directory, noise_episode, read_everything, small_spec


def whole_store(path: Path) -> Path:
    spec = create_store(path, small_spec())
    for worker in range(2):
        with StreamWriter(path, spec, RUN, worker) as writer:
            for index in range(4):
                writer.append(noise_episode(spec, 10 * worker + index, 13))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=400)
    options = parser.parse_args()
    with fast_directory() as directory:
        whole = whole_store(Path(directory) / "whole")
        assert not verify(whole).faults
        for kind, harm in FAULTS.items():
            started, unseen, served = time.perf_counter(), 0, 0
            for seed in range(options.each):
                rng = random.Random(f"{kind}-{seed}")
                path = Path(tempfile.mkdtemp(dir=directory)) / "store"
                shutil.copytree(whole, path)
                harm(file := rng.choice(sorted(path.rglob("c.*"))), rng)
                named = {fault.file for fault in verify(path).faults}
                unseen += named != {file.relative_to(path).as_posix()}
                try:
                    read_everything(path)
                    served += 1
                except StoreError:
                    pass
                shutil.rmtree(path.parent)
            seconds = time.perf_counter() - started
            print(
                f"{kind:9} {options.each} faults: {unseen} not reported, {served} served ({seconds:.0f} s)", flush=True
            )


if __name__ == "__main__":
    main()
