"""How many CPU cores there are to use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """CPU cores that this process may run on, 1 at least: fewer than the machine has under ``taskset``, SLURM or
    ``docker --cpuset-cpus``."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
