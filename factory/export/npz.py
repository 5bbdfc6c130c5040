"""One compressed .npz per episode."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.store.reader import Store


def export(store: Store, path: Path, progress: Callable[[int], None]) -> None:
    """``run<seed>-<policy>-<limit>-<index>.npz`` with every field of the episode, its ``seed``, ``policy``, ends and
    ``factors`` of variation (as JSON). ``limit``: the run's, of the steps of an episode."""
    path.mkdir()
    for done, ref in enumerate(store.episodes, 1):
        policy = re.sub(r"[^A-Za-z0-9_.-]", "-", ref.run.policy)
        name = f"run{ref.run.seed}-{policy}-{ref.run.max_episode_steps}-{ref.index:06d}.npz"
        facts = {name: np.array(getattr(ref, name)) for name in ("seed", "policy", "terminated", "truncated")}
        facts["factors"] = np.array(json.dumps(ref.factors))
        with (path / name).open("xb") as file:
            np.savez_compressed(file, allow_pickle=False, **store.read_episode(ref), **facts)
        progress(done)
