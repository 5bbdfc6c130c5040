"""What to collect: a world, checked and described, and a run of it."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from factory.policies import check_policy
from shared.errors import MissingStoreError, TinyJEPAError
from shared.registry import closest
from shared.store.dataset import load_spec
from shared.store.schema import MOST_COLUMNS, RunSpec, StoreSpec
from shared.store.source import locate
from shared.worlds import NO_OPTIONS, WORLDS, canonical_name, make_world, world_class
from shared.worlds.base import World, action_dim

INNER_CHUNK_BYTES = 1 << 20
"""Raw frames of an inner chunk, at most: the best point measured between fast reads and good shuffling."""
MOST_INNER_ROWS = 256
SHARD_BYTES = 50_331_648
"""Raw frames of a shard: at most this much (4,096 frames of 64x64x3), what a writer holds in memory."""


class Job(NamedTuple):
    """What to collect: a run of a world, and the store that takes it."""

    spec: StoreSpec
    run: RunSpec


def make_job(
    world: str,
    policy: str | None = None,
    seed: int = 0,
    frame_size: int | None = None,
    max_episode_steps: int | None = None,
    options: dict[str, Any] | None = None,
    dataset: str | None = None,
) -> Job:
    """Check the arguments against the world, which is made once; raises ``TinyJEPAError`` for bad ones.

    ``policy``, ``frame_size`` (pixels) and ``max_episode_steps`` are the world's own unless given; ``dataset`` names
    one of the world's ``datasets``, which then sets what is not given; with neither policy nor dataset it is the
    world's default one, where there is one.
    """
    name = canonical_name(world)
    if dataset is None and policy is None and name in WORLDS:
        dataset = WORLDS.get(name).default_dataset or None
    if dataset is not None:
        known = WORLDS.get(name).datasets if name in WORLDS else {}
        if dataset not in known:
            raise TinyJEPAError(closest(dataset, list(known), "dataset") if known else f"world {name} has no datasets")
        named = known[dataset]
        policy, max_episode_steps = policy or named.policy, max_episode_steps or named.max_episode_steps
        options = named.options | (options or {})
    _check_options(name, options or {})
    made = make_world(name, frame_size, **(options or {}))
    try:
        policy = policy or made.default_policy
        check_policy(policy, made)
        columns = action_dim(made.action_space)
        if columns > MOST_COLUMNS:
            raise TinyJEPAError(
                f"world '{name}' takes actions of {made.action_space}, {columns:,} columns as they are stored (one for "
                f"each discrete choice): a store has {MOST_COLUMNS:,} at most, so wrap the environment in fewer actions"
            )
        if name not in WORLDS:
            _try(made, name)
        height, width, channels = made.observation_space.shape or ()
        inner_rows, shard_rows = rows_of_chunk_and_shard((height, width, channels), made.shard_rows)
        spec = StoreSpec(
            world=name,
            world_options=options or {},
            frame_shape=(height, width, channels),
            action_dim=columns,
            state_names=tuple(made.state_names),
            control_rate=made.control_rate,
            inner_rows=inner_rows,
            shard_rows=shard_rows,
            split="blocks",
        )
        longest = max_episode_steps or made.max_episode_steps
        return Job(spec, RunSpec(seed=seed, policy=policy, max_episode_steps=longest))
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise TinyJEPAError(f"world '{name}' does not fit into a store: {reason}") from error
    finally:
        made.close()


def as_stored(path: Path, job: Job) -> Job:
    """``job`` with its world's options as the store at ``path`` has them, if they differ in defaults alone.

    A dataset may name an option that is the default anyway. Raises what ``load_spec`` raises but for a missing store.
    """
    try:
        found = load_spec(locate(path)).spec
    except MissingStoreError:
        return job
    asked, kept = job.spec.world_options, found.world_options
    if found.world != job.spec.world or _without_defaults(found.world, asked) != _without_defaults(found.world, kept):
        return job
    return Job(job.spec.model_copy(update={"world_options": kept}), job.run)


def _without_defaults(world: str, options: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(world_class(world)).parameters
    return {key: value for key, value in options.items() if key not in parameters or parameters[key].default != value}


def _check_options(name: str, options: dict[str, Any]) -> None:
    """Refuse what no world takes, and factors of a world that has none, in words of the command line."""
    if taken := NO_OPTIONS & options.keys():
        raise TinyJEPAError(f"{', '.join(sorted(taken))} is no option of a world: give --world and --frame-size")
    for key, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise TinyJEPAError(f"option '{key}' is {value}: give finite numbers") from None
    if options.keys() & {"factors", "vary"} and not world_class(name).factors:
        raise TinyJEPAError(f"world '{name}' has no factors: leave out --vary and --set-factor")


def rows_of_chunk_and_shard(frame_shape: tuple[int, int, int], most: int) -> tuple[int, int]:
    """``inner_rows`` and ``shard_rows`` of a store of such frames; ``most`` rows a shard."""
    frame_bytes = math.prod(frame_shape)
    fitting = max(INNER_CHUNK_BYTES // frame_bytes, 1)
    inner_rows = min(1 << (fitting.bit_length() - 1), MOST_INNER_ROWS)
    shard_rows = min(most, SHARD_BYTES // frame_bytes)
    return inner_rows, max(shard_rows // inner_rows, 1) * inner_rows


def _try(made: World, name: str) -> None:
    """Refuse an environment whose first picture cannot be a frame, before there is a store."""
    try:
        made.reset(seed=0)
    except TinyJEPAError as error:
        raise TinyJEPAError(f"world '{name}' shows no frames: {error}") from None
    except (Exception, SystemExit):
        return  # the simulator says which episode fails
