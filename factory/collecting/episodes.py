"""One episode as a pure function of (world, policy, seed, k)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from factory.policies import make_policy
from shared.errors import TinyJEPAError, brief
from shared.store.schema import Episode, RunSpec
from shared.worlds.base import World, action_dim, flat_action


def episode_seeds(run_seed: int, k: int) -> tuple[int, np.random.Generator]:
    """The seed episode ``k`` resets the world with, in [0, 2^31), and the generator of its policy.

    Both come from ``numpy.random.SeedSequence([run_seed, k])`` and are independent of each other.
    """
    sequence = np.random.SeedSequence([run_seed, k])
    world_seed = int(sequence.generate_state(1)[0]) & 0x7FFFFFFF
    return world_seed, np.random.default_rng(sequence.spawn(1)[0])


def run_episode(world: World, policy: str, run_seed: int, k: int, max_steps: int) -> Episode:
    """Simulate episode ``k`` of a run, at most ``max_steps`` steps; deterministic, whatever ran before."""
    seed, rng = episode_seeds(run_seed, k)
    shape = world.observation_space.shape
    assert shape is not None
    frames = np.empty((max_steps + 1, *shape), np.uint8)
    states = np.empty((max_steps + 1, len(world.state_names)), np.float32)
    rewards = np.zeros(max_steps + 1, np.float32)
    actions: list[Any] = []

    frames[0], _ = world.reset(seed=seed)
    policy, driver = make_policy(policy, world, rng)
    if (options := getattr(driver, "reset_options", None)) is not None:
        frames[0], _ = world.reset(seed=seed, options=options)
    states[0] = world.state()
    step, terminated, truncated = 0, False, False
    while not (terminated or truncated) and step < max_steps:
        action = driver.act(frames[step], states[step])
        actions.append(action)
        frame, rewards[step], terminated, truncated, _ = world.step(action)
        step += 1
        frames[step] = frame
        states[step] = world.state()

    rows = step + 1
    return Episode(
        index=k,
        seed=seed,
        policy=policy,
        frame=frames[:rows],
        action=_stored_actions(world.action_space, actions),
        reward=rewards[:rows],
        state=states[:rows],
        terminated=terminated,
        truncated=not terminated,
    )


def make_episode(world: World, name: str, run: RunSpec, k: int) -> Episode:
    """``run_episode`` for a world that may fail: raises ``TinyJEPAError`` that names world, episode and seed."""
    try:
        return run_episode(world, run.policy, run.seed, k, run.max_episode_steps)
    except TinyJEPAError:
        raise
    except (Exception, SystemExit) as error:  # the world's code may raise anything, and call sys.exit
        seed, _ = episode_seeds(run.seed, k)
        raise TinyJEPAError(f"world '{name}' failed in episode {k} (world seed {seed}): {brief(error)}") from error


def _stored_actions(space: gym.Space[Any], actions: list[Any]) -> np.ndarray:
    """float32 ``(len(actions) + 1, A)``: the actions flattened, and the zero row of the last observation."""
    stored = np.zeros((len(actions) + 1, action_dim(space)), np.float32)
    if isinstance(space, gym.spaces.Box):
        stored[:-1] = np.asarray(actions, np.float32).reshape(len(actions), -1)
    else:
        for row, action in enumerate(actions):
            stored[row] = flat_action(space, action)
    return stored
