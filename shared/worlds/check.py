"""Checks of a running world against the contract of ``World``."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from shared.errors import TinyJEPAError
from shared.worlds.base import World, action_dim, flat_action

STEPS = 8

Episode = dict[str, np.ndarray]
"""Frames (L + 1, H, W, C), states (L + 1, S), rewards (L,) and ends (L, 2) of an episode."""


def drive(world: World, seed: int, steps: int = STEPS) -> Episode:
    """An episode under actions that depend on the seed alone, of at most ``steps`` steps."""
    world.action_space.seed(seed)
    frame, _ = world.reset(seed=seed)
    frames, states = [frame.copy()], [world.state()]
    rewards, ends = list[float](), list[tuple[bool, bool]]()
    for _ in range(steps):
        frame, reward, terminated, truncated, _ = world.step(world.action_space.sample())
        frames.append(frame.copy())
        states.append(world.state())
        rewards.append(float(reward))
        ends.append((terminated, truncated))
        if terminated or truncated:
            break
    return {
        name: np.array(x) for name, x in zip(("frames", "states", "rewards", "ends"), (frames, states, rewards, ends))
    }


def same(one: Episode, other: Episode) -> bool:
    """Whether two episodes are equal to the last bit."""
    return all(np.array_equal(one[key], other[key]) for key in one)


def check_world(world: World, twin: World | None = None) -> None:
    """See ``shared.worlds.check_world``. ``twin`` is a second instance, made in the same way."""
    _gymnasium(world)
    _spaces(world)
    _declarations(world)
    episode = drive(world, 5)
    _frames(world, episode["frames"])
    _states(world, episode["states"])
    _purity(world, twin)


def _refuse(world: World, wrong: bool, why: str) -> None:
    if wrong:
        raise TinyJEPAError(f"{type(world).__name__}: {why}")


def _gymnasium(world: World) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not having a spec.*")
            check_env(world)
    except Exception as error:
        _refuse(world, True, f"gymnasium's check_env refuses it: {' '.join(str(error).split())}")


def _spaces(world: World) -> None:
    space, actions = world.observation_space, world.action_space
    frame = isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3
    _refuse(world, not frame, f"its observation must be a Box of uint8 (H, W, C), one frame; it is {space}")
    assert space.shape is not None
    _refuse(world, space.shape[2] not in (1, 2, 3), f"a frame has 1, 2 or 3 channels, not {space.shape[2]}")
    stored = flat_action(actions, actions.sample())
    wrong = stored.dtype != np.float32 or stored.shape != (action_dim(actions),)
    _refuse(world, wrong, f"an action must flatten to float32 ({action_dim(actions)},)")


def _declarations(world: World) -> None:
    """Check the class attributes against its states, axes and actions."""
    names = world.state_names
    _refuse(world, len(set(names)) < len(names), f"a state is named twice in {names}")
    subset = world.typical.states if world.typical else ()
    for what, declared in (
        ("angles", world.angles), ("headline_states", world.headline_states),
        ("absolute_states", world.absolute_states), ("typical", subset),
    ):  # fmt: skip
        unknown = [name for name in declared if name not in names]
        _refuse(world, bool(unknown), f"{what} names {', '.join(unknown)}, which state_names does not have")
    axes = {axis.name: axis for axis in world.axes((world.observation_space.shape or (64,))[0])}
    for axis in axes.values():
        unknown = [name for name in axis.states if name not in names]
        _refuse(world, bool(unknown), f"axis {axis.name} is made of {', '.join(unknown)}, no state of it")
    for pair in world.maps:
        _refuse(world, not set(pair) <= set(axes), f"the map {pair} asks for an axis that axes() does not give")
    for key, action in world.keys.items():
        wrong = len(action) != action_dim(world.action_space)
        _refuse(world, wrong, f"the key {key} adds {len(action)} numbers to {action_dim(world.action_space)} actions")
    _refuse(world, world.default_dataset not in ("", *world.datasets), "default_dataset is none of its datasets")
    for number in ("control_rate", "max_episode_steps", "shard_rows"):
        _refuse(world, not getattr(world, number) > 0, f"{number} must be positive")


def _frames(world: World, frames: np.ndarray) -> None:
    shape = world.observation_space.shape
    wrong = frames.dtype != np.uint8 or frames.shape[1:] != shape
    _refuse(world, wrong, f"its frames are {frames.dtype} {frames.shape[1:]}, its observation_space says uint8 {shape}")
    _refuse(world, not frames.std() > 0, "its frames are one colour throughout")


def _states(world: World, states: np.ndarray) -> None:
    wanted = (len(world.state_names),)
    wrong = states.dtype != np.float32 or states.shape[1:] != wanted
    _refuse(world, wrong, f"state() gives {states.dtype} {states.shape[1:]}, state_names asks for float32 {wanted}")
    _refuse(world, not np.isfinite(states).all(), "state() gives numbers that are not finite")
    if world.typical is not None:
        columns = states[:, [world.state_names.index(name) for name in world.typical.states]]
        mask = world.typical.rows(columns)
        wrong = mask.dtype != bool or mask.shape != (len(states),)
        _refuse(world, wrong, f"typical.rows must give a bool for each row, not {mask.dtype} {mask.shape}")


def _purity(world: World, twin: World | None) -> None:
    """Check that an episode depends only on its seed, not on earlier episodes."""
    first = drive(world, 3)
    why = "an episode must depend on its seed and the options alone, and here "
    _refuse(world, not same(first, drive(world, 3)), why + "the same seed gave another one at once")
    drive(world, 11)
    _refuse(world, not same(first, drive(world, 3)), why + "the episode before it shows")
    if twin is not None:
        drive(twin, 12, steps=3)
        _refuse(world, not same(first, drive(twin, 3)), why + "another instance gave another one")
