"""Minari (minari.farama.org): episodes with observations, actions, rewards, and the true state as info."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef
from shared.worlds import WORLDS, gymnasium_id, stored_world
from shared.worlds.actions import Actions
from shared.worlds.adapter import GymnasiumWorld

BATCH = 16
"""Episodes in memory at once."""


def export(store: Store, path: Path, progress: Callable[[int], None]) -> None:
    """A data set that ``minari.MinariDataset(path / "data")`` loads; frames are kept as they are, without JPEG.

    An episode of L steps has L + 1 observations, L actions and rewards, and ``infos["state"]`` (L + 1, S). Actions are
    of the world's own action space. ``recover_environment()`` gives the world again, with frames of the same size and
    episodes of the same length, where TinyJEPA is installed. Raises ``TinyJEPAError`` for a world without actions,
    which Minari cannot hold. An episode's metadata has its ``factors`` of variation, as JSON.
    """
    spec = store.spec
    if spec.action_dim == 0:
        raise TinyJEPAError(f"{spec.world} has no actions, and a Minari data set needs them: export as hdf5 or npz")
    world = stored_world(spec.world, spec.frame_shape[0], spec.world_options, trust=True)  # the caller has asked
    path.mkdir()
    path = path.absolute()  # Minari counts the size of a relative one in the wrong folder
    space = gym.spaces.Box(0, 255, spec.frame_shape, np.uint8)
    storage = MinariStorage.new(path / "data", space, world.action_space, _recipe(store), jpeg_encoding=False)
    for start in range(0, len(store.episodes), BATCH):
        batch = store.episodes[start : start + BATCH]
        storage.update_episodes(_buffers(store, batch, start, world.action_space))
        known = [{"factors": json.dumps(ref.factors)} for ref in batch]
        storage.update_episode_metadata(known, range(start, start + len(batch)))
        progress(start + len(batch))
    storage.update_metadata(
        {
            "dataset_id": f"tinyjepa/{spec.world.replace('/', '-').replace(':', '-')}-v0",
            "algorithm_name": ", ".join(sorted({run.policy for run in store.runs})),
            "author": set(),
            "minari_version": version("minari"),
            "requirements": ["tinyjepa"],
            "state_names": list(spec.state_names),
        }
    )
    world.close()


def _recipe(store: Store) -> EnvSpec:
    """How gymnasium makes the world of a store."""
    spec = store.spec
    options: dict[str, Any] = {"frame_size": spec.frame_shape[0], **spec.world_options}
    if spec.world in WORLDS:
        name, entry = gymnasium_id(spec.world), WORLDS.path(spec.world)
    else:
        name, entry = spec.world.rpartition(":")[2], f"{GymnasiumWorld.__module__}:{GymnasiumWorld.__name__}"
        options["id"] = spec.world
    longest = max(run.max_episode_steps for run in store.runs)
    return EnvSpec(name, entry, max_episode_steps=longest, disable_env_checker=True, kwargs=options)


def _buffers(store: Store, refs: list[EpisodeRef], first: int, space: gym.Space) -> Iterator[EpisodeBuffer]:
    for number, ref in enumerate(refs, first):
        data = store.read_episode(ref, "frame", "action", "reward", "state")
        steps = ref.rows - 1
        ends = np.zeros(steps, bool)
        ends[-1:] = True
        rows = Actions(space)
        actions = np.array([rows.action(row) for row in data["action"][:-1]], space.dtype)
        yield EpisodeBuffer(
            id=number,
            seed=ref.seed,
            observations=data["frame"],
            actions=actions.reshape(steps, *(space.shape or ())),
            rewards=data["reward"][:-1],
            terminations=ends & ref.terminated,
            truncations=ends & ref.truncated,
            infos={"state": data["state"]} if data["state"].size else None,
        )
