"""One contract for every world, and what the registry says to those who ask for something else."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from shared.errors import TinyJEPAError
from shared.worlds import WORLDS, canonical_name, gymnasium_id, make_world
from shared.worlds.base import World, action_dim, flat_action

GYMNASIUM_IDS = ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "FrozenLake-v1", "CarRacing-v3"]
EVERY = [*WORLDS, *GYMNASIUM_IDS]
STEPS = 8


def drive(world: World, seed: int, steps: int = STEPS) -> dict[str, np.ndarray]:
    """Frames, states, rewards and ends of an episode under actions that depend on the seed alone."""
    world.action_space.seed(seed)
    frame, _ = world.reset(seed=seed)
    frames, states, rewards, ends = [frame.copy()], [world.state()], [], []
    for _ in range(steps):
        frame, reward, terminated, truncated, _ = world.step(world.action_space.sample())
        frames.append(frame.copy())
        states.append(world.state())
        rewards.append(reward)
        ends.append((terminated, truncated))
        if terminated or truncated:
            break
    return {k: np.array(v) for k, v in zip(("frames", "states", "rewards", "ends"), (frames, states, rewards, ends))}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", EVERY)
def test_gymnasiums_own_check_passes(name: str) -> None:
    world = gym.make(gymnasium_id(name)).unwrapped if name in WORLDS else make_world(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not having a spec.*")
        check_env(world)
    world.close()


@pytest.mark.parametrize("name", EVERY)
def test_frames_and_state_are_what_the_world_says(name: str) -> None:
    world = make_world(name, frame_size=32)
    episode = drive(world, 5)
    shape = world.observation_space.shape
    assert shape is not None and shape[:2] == (32, 32) and shape[2] in (1, 2, 3)
    assert episode["frames"].dtype == np.uint8 and episode["frames"].shape[1:] == shape
    assert episode["frames"].std() > 0
    assert episode["states"].dtype == np.float32 and episode["states"].shape[1:] == (len(world.state_names),)
    assert np.isfinite(episode["states"]).all()
    assert len(set(world.state_names)) == len(world.state_names)
    assert world.control_rate > 0 and world.max_episode_steps > 0 and world.shard_rows > 0
    stored = flat_action(world.action_space, world.action_space.sample())
    assert stored.dtype == np.float32 and stored.shape == (action_dim(world.action_space),)
    world.close()


@pytest.mark.parametrize("name", EVERY)
def test_an_episode_is_a_pure_function_of_its_seed(name: str) -> None:
    world, other = make_world(name), make_world(name)
    first = drive(world, 3)
    assert not same(first, drive(world, 4))
    assert same(first, drive(world, 3))
    drive(world, 11)
    drive(other, 12, steps=3)
    assert same(first, drive(world, 3))
    assert same(first, drive(other, 3))
    world.close()
    other.close()


def test_registered_ids_reach_the_same_worlds() -> None:
    for name in WORLDS:
        assert canonical_name(gymnasium_id(name)) == name
        assert type(gym.make(gymnasium_id(name)).unwrapped) is type(make_world(name))


def test_a_time_limit_of_the_environment_is_honoured() -> None:
    world = make_world("FrozenLake-v1", is_slippery=False)
    assert world.max_episode_steps == 100
    world.reset(seed=0)
    ends = [world.step(0)[2:4] for _ in range(100)]  # moving left at the left edge: never in a hole
    assert ends == [(False, False)] * 99 + [(False, True)]


def test_options_reach_the_environment() -> None:
    assert isinstance(make_world("CarRacing-v3", continuous=False).action_space, gym.spaces.Discrete)
    assert make_world("car-racing", frame_skip=2).control_rate == 25.0


@pytest.mark.parametrize(
    ("name", "size", "options", "words"),
    [
        (
            "car-racin",
            64,
            {},
            ["unknown world 'car-racin'", "Did you mean 'car-racing'?", "any installed gymnasium id"],
        ),
        ("cartpole", 64, {}, ["Did you mean 'CartPole-v1'?"]),
        ("no_such_module:Thing-v0", 64, {}, ["cannot import 'no_such_module'"]),
        ("car-racing", 4, {}, ["frame size 4"]),
        ("car-racing", 64, {"hdu": True}, ["unknown option 'hdu'", "Did you mean 'hud'?", "domain_randomize"]),
        ("car-racing", 64, {"hud": "maybe"}, ["option 'hud'", "'maybe'", "bool"]),
        ("car-racing", 64, {"frame_skip": 0}, ["frame_skip"]),
        ("CartPole-v1", 64, {"gravitas": 1}, ["CartPole-v1", "gravitas"]),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(name: str, size: int, options: dict[str, Any], words: list[str]):
    with pytest.raises(TinyJEPAError) as caught:
        make_world(name, size, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


class Blind(gym.Env[dict[str, Any], Any]):
    """Nothing to see: a dict observation and no render."""

    observation_space = gym.spaces.Dict({"x": gym.spaces.Discrete(2)})
    action_space = gym.spaces.Discrete(2)


class Missing(gym.Env[Any, Any]):
    def __init__(self) -> None:
        raise gym.error.DependencyNotInstalled("Sim is not installed, run `pip install sim`")


@pytest.mark.parametrize(("env", "words"), [(Blind, "shows no frames"), (Missing, "pip install sim")])
def test_environments_that_cannot_serve_say_why(env: type[gym.Env[Any, Any]], words: str) -> None:
    name = f"tests/{env.__name__}-v0"
    gym.register(name, entry_point=env)
    try:
        with pytest.raises(TinyJEPAError, match=words):
            make_world(name)
    finally:
        del gym.registry[name]
