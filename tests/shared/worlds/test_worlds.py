"""One contract for every world, and what the registry says to those who ask for something else."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest

from shared.errors import TinyJEPAError
from shared.worlds import WORLDS, canonical_name, check_world, gymnasium_id, make_world
from shared.worlds.base import World
from shared.worlds.check import drive, same

GYMNASIUM_IDS = ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "FrozenLake-v1", "CarRacing-v3"]
EVERY = [*WORLDS, *GYMNASIUM_IDS]


@pytest.mark.parametrize("name", EVERY)
def test_every_world_keeps_the_contract(name: str) -> None:
    world, twin = (make_world(name, frame_size=32) for _ in range(2))
    check_world(world, twin)
    assert not same(drive(world, 3), drive(world, 4)), "another seed is another episode"
    world.close()
    twin.close()


@pytest.mark.parametrize("name", list(WORLDS))
def test_the_contract_holds_as_the_world_comes(name: str) -> None:
    made = gym.make(gymnasium_id(name)).unwrapped
    assert isinstance(made, World)
    check_world(made)
    made.close()


class Sound(World):
    """Keeps the contract; each subclass below breaks one rule of it."""

    observation_space = gym.spaces.Box(0, 255, (8, 8, 1), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    state_names = ("x", "theta")
    angles = ("theta",)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.x = float(self.np_random.uniform(0, 200))
        return self.frame(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.x += float(action[0])
        return self.frame(), 0.0, False, False, {}

    def frame(self) -> np.ndarray:
        frame = np.zeros((8, 8, 1), np.uint8)
        frame[0] = int(abs(self.x)) % 256
        return frame

    def state(self) -> np.ndarray:
        return np.array([self.x, 0.0], np.float32)


class Remembers(Sound):
    """Its episodes depend on how many there were."""

    count = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        Remembers.count += 1
        self.x += 0.125 * Remembers.count
        return self.frame(), {}


class Stacked(Sound):
    observation_space = gym.spaces.Box(0, 255, (8, 8, 4), np.uint8)

    def frame(self) -> np.ndarray:
        return np.repeat(super().frame(), 4, 2)


class Vague(Sound):
    def state(self) -> np.ndarray:
        return np.array([self.x, np.nan], np.float32)


class Wide(Sound):
    def state(self) -> np.ndarray:
        return np.zeros(3, np.float32)


class Turning(Sound):
    angles = ("heading",)


class Doubled(Sound):
    state_names = ("x", "x")
    angles = ()


class Steered(Sound):
    keys: ClassVar[dict[str, tuple[float, ...]]] = {"left": (1.0,)}


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (Stacked, "1, 2 or 3 channels, not 4"),
        (Remembers, "check_env refuses it: Deterministic"),
        (Vague, "not finite"),
        (Wide, r"state\(\) gives float32 \(3,\)"),
        (Turning, "angles names heading"),
        (Doubled, "named twice"),
        (Steered, "the key left adds 1 numbers to 2 actions"),
    ],
)
def test_a_broken_rule_is_named(world: type[World], words: str) -> None:
    check_world(Sound(), Sound())
    with pytest.raises(TinyJEPAError, match=words) as caught:
        check_world(world(), world())
    assert str(caught.value).startswith(f"{world.__name__}: ") and "\n" not in str(caught.value)


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
