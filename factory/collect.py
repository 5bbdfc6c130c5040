"""The driver: makes a store hold the episodes of a run, here or on Ray workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.interrupt import Interrupt
from factory.plan import Plan
from factory.policies import check_policy
from factory.progress import Display, Quiet, Tally
from factory.simulator import Simulator
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import StoreSpec
from shared.worlds import canonical_name, make_world
from shared.worlds.base import action_dim

INNER_CHUNK_BYTES = 1 << 20
"""Raw frames of an inner chunk, at most: the best point measured between fast reads and good shuffling."""
MOST_INNER_ROWS = 256
SHARD_BYTES = 50_331_648
"""Raw frames of a shard: at most this much (4,096 frames of 64x64x3), what a writer holds in memory."""


@dataclass(frozen=True)
class Summary:
    """What a collection did."""

    path: Path
    frames: int
    """Rows of the run's episodes, all committed."""
    episodes: int
    new_frames: int
    """Rows that were missing when the collection started."""
    seconds: float
    bytes_on_disk: int

    @property
    def frames_per_second(self) -> float:
        return self.new_frames / max(self.seconds, 1e-9)


def plan_store(
    world: str,
    policy: str,
    seed: int = 0,
    frame_size: int = 64,
    max_episode_steps: int | None = None,
    options: dict[str, Any] | None = None,
) -> StoreSpec:
    """What a store of this run is about. Makes the world once; raises ``TinyJEPAError`` for bad arguments."""
    name = canonical_name(world)
    made = make_world(name, frame_size, **(options or {}))
    try:
        check_policy(policy, made)
        height, width, channels = made.observation_space.shape or ()
        frame_bytes = height * width * channels
        fitting = max(INNER_CHUNK_BYTES // frame_bytes, 1)
        inner_rows = min(1 << (fitting.bit_length() - 1), MOST_INNER_ROWS)
        shard_rows = min(made.shard_rows, SHARD_BYTES // frame_bytes)
        return StoreSpec(
            world=name,
            world_options=options or {},
            frame_shape=(height, width, channels),
            action_dim=action_dim(made.action_space),
            state_names=tuple(made.state_names),
            control_rate=made.control_rate,
            policy=policy,
            seed=seed,
            max_episode_steps=max_episode_steps or made.max_episode_steps,
            inner_rows=inner_rows,
            shard_rows=max(shard_rows // inner_rows, 1) * inner_rows,
        )
    finally:
        made.close()


def collect(
    path: Path,
    spec: StoreSpec,
    frames: int,
    workers: int = 1,
    address: str | None = None,
    display: Display | None = None,
) -> Summary:
    """Collect episodes 0 to K-1 of a run into the store at ``path``, the smallest K for ``frames`` rows.

    Episodes that are there already are kept, so the same call goes on where an earlier one ended, and a
    higher goal extends the store. The episodes are the same, bit for bit, whatever the number of workers.
    Without an ``address``, what one worker can do is done in this process, without Ray.

    Raises ``TinyJEPAError`` when the store is another run's, the world fails or the disk refuses, and
    ``KeyboardInterrupt`` after SIGINT or SIGTERM; what is committed then stays.
    """
    if frames < 1 or workers < 1:
        raise TinyJEPAError(f"frames ({frames}) and workers ({workers}) must be positive")
    spec = create_store(path, spec)
    store = Store(path)
    plan = Plan(frames, spec.max_episode_steps + 1, {ref.index: ref.rows for ref in store.episodes})
    found = plan.rows
    tally = Tally()
    with display or Quiet() as screen, Interrupt() as interrupt:
        while not plan.finished:
            if address is None and min(workers, plan.parallel) == 1:
                _collect_here(path, spec, plan, interrupt, tally, screen)
            else:
                from factory.fleet import collect_on_ray

                collect_on_ray(path, spec, plan, workers, address, interrupt, tally, screen)
            store.refresh()
            plan.lost(plan.missing(ref.index for ref in store.episodes))
    return Summary(path, plan.rows, plan.episodes, plan.rows - found, tally.seconds, store.bytes_on_disk)


def _collect_here(path: Path, spec: StoreSpec, plan: Plan, interrupt: Interrupt, tally: Tally, screen: Display) -> None:
    simulator = Simulator(path, spec, worker=0)
    simulator.start()
    try:
        while (k := plan.take()) is not None:
            record = simulator.simulate(k)
            plan.done(k, record.rows)
            tally.add(0, record)
            screen.show(plan.rows, tally)
            interrupt.check()
    finally:
        simulator.close()
