"""The factors of variation of stored episodes: as their log has them, or computed for stores from before that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import FACTOR_OPTIONS, EpisodeRef, Factors, StoreSpec
from shared.worlds import world_class
from shared.worlds.factors import OUTSIDE, Variation, text


def values_of(spec: StoreSpec) -> Callable[[EpisodeRef], Factors | None]:
    """A function from an episode to the values of the factors that were set or sampled.

    Episodes of older logs get what their seed gives with the world as it is now; None where the world no longer takes
    the store's options.
    """
    options = spec.world_options
    try:
        chosen = Variation(world_class(spec.world).factors, options.get("factors"), options.get("vary", ()))
    except TinyJEPAError:
        return lambda ref: ref.factors

    def values(ref: EpisodeRef) -> Factors | None:
        if ref.factors is not None:
            return ref.factors
        drawn = chosen.values(ref.seed)
        return {name: drawn[name] for name in chosen.names}

    return values


def line(store: Store) -> str:
    """What is set, and between which values the episodes lie in what is sampled; empty where nothing is."""
    if not store.spec.world_options.keys() & FACTOR_OPTIONS:
        return ""
    values = values_of(store.spec)
    found = [known for ref in store.episodes if (known := values(ref)) is not None]
    sampled = {name.removesuffix(OUTSIDE): name.endswith(OUTSIDE) for name in store.spec.world_options.get("vary", ())}
    parts = []
    for name in dict.fromkeys([*(store.spec.world_options.get("factors") or {}), *sampled]):
        drawn = [each[name] for each in found if name in each]
        if not drawn:
            parts.append(f"{name}: no episode yet")
        elif name in sampled:
            spread = np.array(drawn)
            where = " outside of the training range" if sampled[name] else ""
            parts.append(f"{name} sampled per episode{where}, {spread.min():.3g} to {spread.max():.3g}")
        else:
            parts.append(f"{name} {text(drawn[0])} in every episode")
    older = sum(ref.factors is None for ref in store.episodes)
    return "; ".join(parts) + (f" ({older:,} episodes of older logs: computed from their seeds)" if older else "")
