"""A small collection as a process of its own: ``python -m tests.support.collecting STORE FRAMES WORKERS [ADDRESS]``.

WORKERS may be ``all``: one for each core of the cluster at ADDRESS.
"""

from __future__ import annotations

import sys
from pathlib import Path

from factory.collecting.collect import collect
from factory.collecting.job import Job, make_job


def small_run() -> Job:
    """Fast CarRacing in small frames, episodes of 40 steps; a commit every 64 rows, so that there is much to lose."""
    spec, run = make_job("car-racing", "mixed", seed=5, frame_size=16, max_episode_steps=40)
    return Job(spec.model_copy(update={"inner_rows": 16, "shard_rows": 64}), run)


if __name__ == "__main__":
    path, frames, workers, *address = sys.argv[1:]
    collect(Path(path), small_run(), int(frames), None if workers == "all" else int(workers), *address)
