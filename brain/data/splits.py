"""What a store must hold to be judged: episodes of every split."""

from __future__ import annotations

from typing import get_args

from brain.data.windows import Timing
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, Split


def judged_splits(store: Store, timing: Timing) -> dict[Split, list[EpisodeRef]]:
    """All episodes of each split. Raises ``TinyJEPAError`` where one has no episode that holds a model step."""
    refs: dict[Split, list[EpisodeRef]] = {split: store.split(split) for split in get_args(Split)}
    for split, episodes in refs.items():
        if not any(ref.rows >= timing.shortest for ref in episodes):
            raise TinyJEPAError(
                f"{store.path} has no {split} episode of {timing.shortest} frames or more ({len(store.episodes)} "
                "episodes in all): judging needs at least 1 validation and 2 test episodes, which 50 episodes or "
                "more nearly always hold; collect more frames"
            )
    return refs
