"""What a stream's files do not say of its episodes: the seed, the policy and, in older stores, the run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from factory.collecting.drive import HUMAN
from factory.collecting.episodes import episode_seeds, make_episode
from factory.policies import MIXED, MIXES, POLICIES, resolve_policy
from shared.errors import StoreError, TinyJEPAError
from shared.store.reader import Store
from shared.store.rebuild import Found, rebuild_log
from shared.store.schema import RunSpec
from shared.worlds import IMPORTED, stored_world
from shared.worlds.base import World


def rebuild(path: Path, stream: str, trust_world: bool = False) -> str:
    """Make the lost log of a stream anew; returns a line on what came back. Raises what ``rebuild_log`` raises."""
    identity = Identity(Store(path, on_corrupt="skip"), trust_world)
    back = rebuild_log(path, stream, identity.identify, identity.prove)
    ends = f"; it ends there: {back.ends}" if back.ends else ""
    own = "; seeds, and policies of single episodes, are not: they stood in the log alone" if identity.foreign else ""
    return (
        f"stream {stream}: {back.rows:,} rows in {back.shards} shards are back, {back.episodes:,} episodes{ends}{own}"
    )


PLANNED = re.compile(r"(plan-.+)-[0-9a-f]{8}")
"""A run that ``brain plan`` recorded, and the policy of its episodes."""


class Identity:
    """Seeds and policies of a store's episodes, computed as the factory draws them.

    The store's world is made for a run of a mix and for ``prove`` only. Where the store names a module to import it
    from, that needs ``trust_world``: importing runs its code. Raises ``TinyJEPAError`` then, and for a world that
    cannot be made.
    """

    def __init__(self, store: Store, trust_world: bool = False) -> None:
        self._spec, self._runs, self._trust = store.spec, store.runs, trust_world
        self._made: World | None = None
        self.foreign = False
        """Whether ``identify`` met episodes that were imported or planned: only their log knew the seeds."""

    def identify(self, run: RunSpec, k: int) -> tuple[int, str]:
        """Seed and policy of episode ``k``."""
        known = run.policy in (MIXED, HUMAN, *MIXES, *POLICIES)
        if self._spec.world.startswith(IMPORTED) or not known:
            self.foreign = True
            planned = PLANNED.fullmatch(run.policy)
            return k, planned[1] if planned else run.policy
        seed, rng = episode_seeds(run.seed, k)
        mixed = run.policy == MIXED or run.policy in MIXES
        return seed, resolve_policy(run.policy, self._world, rng) if mixed else run.policy

    def prove(self, found: Found) -> RunSpec:
        """The one run among the store's others that makes this very episode, bit for bit. Raises ``StoreError``."""
        fitting = [run for run in self._runs if found.rows <= run.max_episode_steps + 1 and self._makes(run, found)]
        if len(fitting) == 1:
            return fitting[0]
        why = "several runs of the store make" if fitting else "no run of the store's other streams makes"
        raise StoreError(
            f"{why} the stream's first episode, and its own run (policy, seed, episode limit) stood only in the lost "
            "log: restore that from a copy, or remove the stream with factory gc --stream"
        )

    def _makes(self, run: RunSpec, found: Found) -> bool:
        world = self._world
        try:
            made = make_episode(world, self._spec.world, run, found.index)
        except TinyJEPAError:
            return False  # such as policy human, which cannot be repeated
        names = ("frame", "action", "reward", "state")
        return all(np.array_equal(found.columns[name], getattr(made, name)) for name in names if name in found.columns)

    @property
    def _world(self) -> World:
        if self._made is None:
            spec = self._spec
            self._made = stored_world(spec.world, spec.frame_shape[0], spec.world_options, trust=self._trust)
        return self._made
