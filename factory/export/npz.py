"""One compressed .npz per episode."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.store.reader import Store


def export(store: Store, path: Path, progress: Callable[[int], None]) -> None:
    """``run<seed>-<policy>-<index>.npz`` with every field of the episode, its ``seed``, ``policy``, ends and
    ``factors`` of variation (as JSON)."""
    path.mkdir()
    for done, ref in enumerate(store.episodes, 1):
        name = f"run{ref.run.seed}-{ref.run.policy}-{ref.index:06d}.npz"
        facts = {name: np.array(getattr(ref, name)) for name in ("seed", "policy", "terminated", "truncated")}
        facts["factors"] = np.array(json.dumps(ref.factors))
        np.savez_compressed(path / name, allow_pickle=False, **store.read_episode(ref), **facts)
        progress(done)
