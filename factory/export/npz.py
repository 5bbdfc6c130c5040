"""One compressed .npz per episode."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.store.reader import Store
from shared.store.schema import RunSpec

LETTERS = 50
"""Of a policy's name in a file's, which may have 255 bytes."""


def export(store: Store, path: Path, progress: Callable[[int], None]) -> None:
    """``run<seed>-<policy>-<limit>-<index>.npz`` with every field of the episode, its ``seed``, ``policy``, ends and
    ``factors`` of variation (as JSON). ``limit``: the run's, of the steps of an episode; the run's checksum follows
    where two names would be the same."""
    path.mkdir()
    names: dict[RunSpec, str] = {}
    for done, ref in enumerate(store.episodes, 1):
        if ref.run not in names:
            policy = re.sub(r"[/\0]", "-", ref.run.policy)[:LETTERS]
            name = f"run{ref.run.seed}-{policy}-{ref.run.max_episode_steps}"
            names[ref.run] = f"{name}-{ref.run.checksum:08x}" if name in names.values() else name
        facts = {name: np.array(getattr(ref, name)) for name in ("seed", "policy", "terminated", "truncated")}
        facts["factors"] = np.array(json.dumps(ref.factors))
        with (path / f"{names[ref.run]}-{ref.index:06d}.npz").open("xb") as file:
            np.savez_compressed(file, allow_pickle=False, **store.read_episode(ref), **facts)
        progress(done)
