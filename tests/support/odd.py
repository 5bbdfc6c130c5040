"""Gymnasium environments with one oddity each: ``tests.support.odd:odd/Mutator-v0`` and its like.

All show a square that moves one pixel a step over a ground whose colour the seed draws; an episode has 12 steps; the
reward is the sum of what the environment was given as its action.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

STEPS = 12
HEIGHT, WIDTH = 24, 32


class Square(gym.Env[Any, Any]):
    """Nothing is odd here yet."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space: spaces.Space[Any] = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space: spaces.Space[Any] = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        self.ground = self.np_random.integers(0, 200, 3)
        return self.observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(np.sum(action))
        self.time += 1
        return self.observation(), reward, self.time >= STEPS, False, {}

    def observation(self) -> Any:
        return np.array([self.time], np.float32)

    def picture(self) -> np.ndarray:
        """uint8 (24, 32, 3)"""
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        image[:] = self.ground
        image[8:14, self.time : self.time + 6] = 255
        return image

    def render(self) -> Any:
        return self.picture()


class Mutator(Square):
    """Scales and shifts its argument in place."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = super().step(action)
        action *= 0.5
        action += 100
        return result


class Reuser(Square):
    """Shows the same array at every step, painted anew."""

    observation_space = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def observation(self) -> np.ndarray:
        self.canvas[:] = self.picture()
        return self.canvas


class FloatPicture(Square):
    def render(self) -> np.ndarray:
        return self.picture() / 255


class BoolPicture(Square):
    def render(self) -> np.ndarray:
        return self.picture()[:, :, 0] == 255


class LongPicture(Square):
    def render(self) -> np.ndarray:
        return self.picture().astype(np.int64)


class GreyPicture(Square):
    def render(self) -> np.ndarray:
        return self.picture()[:, :, 0]


class ClearPicture(Square):
    """RGBA: the right half is see-through, whatever its colours say."""

    def render(self) -> np.ndarray:
        alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        alpha[:, WIDTH // 2 :] = 0
        return np.concatenate([self.picture(), alpha], 2)


class NoPicture(Square):
    def render(self) -> None:
        return None


class ListPicture(Square):
    def render(self) -> list[np.ndarray]:
        return [self.picture()]


class HotPicture(Square):
    """Floats that nobody scaled."""

    def render(self) -> np.ndarray:
        return self.picture().astype(np.float32)


class TwoPicture(Square):
    def render(self) -> np.ndarray:
        return self.picture()[:, :, :2]


class Board(Square):
    """Codes of a board as observation; the picture is another thing."""

    observation_space = spaces.Box(0, 5, (8, 8), np.uint8)

    def observation(self) -> np.ndarray:
        return np.full((8, 8), min(5, self.time), np.uint8)


class Go(Square):
    """Planes of stones, which have the shape of an RGB image."""

    observation_space = spaces.Box(0, 1, (19, 19, 3), np.uint8)

    def observation(self) -> np.ndarray:
        return np.zeros((19, 19, 3), np.uint8)


class Blind(Square):
    """An image observation and no render."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    def observation(self) -> Any:
        return self.picture()


class FloatImage(Blind):
    observation_space = spaces.Box(0, 1, (HEIGHT, WIDTH, 3), np.float32)

    def observation(self) -> np.ndarray:
        return (self.picture() / 255).astype(np.float32)


class ChannelsFirst(Blind):
    observation_space = spaces.Box(0, 255, (3, HEIGHT, WIDTH), np.uint8)

    def observation(self) -> np.ndarray:
        return self.picture().transpose(2, 0, 1)


class FloatChannelsFirst(Blind):
    observation_space = spaces.Box(0, 1, (3, HEIGHT, WIDTH), np.float32)

    def observation(self) -> np.ndarray:
        return (self.picture().transpose(2, 0, 1) / 255).astype(np.float32)


class ClearImage(Blind):
    """RGBA, opaque."""

    observation_space = spaces.Box(0, 255, (HEIGHT, WIDTH, 4), np.uint8)

    def observation(self) -> np.ndarray:
        return np.concatenate([self.picture(), np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], 2)


class Camera(Blind):
    """A dictionary with one image."""

    observation_space = spaces.Dict(
        {"image": spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8), "joints": spaces.Box(-1, 1, (4,), np.float32)}
    )

    def observation(self) -> dict[str, np.ndarray]:
        return {"image": self.picture(), "joints": np.zeros(4, np.float32)}


class Cameras(Blind):
    """A dictionary with two images: the other one is upside down."""

    observation_space = spaces.Dict(
        {name: spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for name in ("image", "wrist")}
    )

    def observation(self) -> dict[str, np.ndarray]:
        return {"image": self.picture(), "wrist": self.picture()[::-1]}


class HalfBounded(Square):
    action_space = spaces.Box(5, np.inf, (2,), np.float32)


class Huge(Square):
    action_space = spaces.Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,), np.float32)


class Precise(Square):
    """Actions of float64, with bounds that float32 cannot hold."""

    action_space = spaces.Box(-0.1, 0.1, (2,), np.float64)


class Whole(Square):
    action_space = spaces.Box(-3, 7, (2,), np.int64)


class Shifted(Square):
    action_space = spaces.Discrete(4, start=-2)


class Several(Square):
    action_space = spaces.MultiDiscrete([3, 4], start=[2, -1])


class Switches(Square):
    action_space = spaces.MultiBinary(3)


class BothEnds(Square):
    """Terminates and truncates in the same step."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, ended, _, info = super().step(action)
        return observation, reward, ended, ended, info


class OldLimit(Square):
    """Says by ``info`` that the end it calls a termination is its time limit, as environments did before 0.26."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, ended, _, _ = super().step(action)
        return observation, reward, ended, False, {"TimeLimit.truncated": True} if ended else {}


class Unseeded(Square):
    """Draws from the system, not from its seed, after the third step."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.time == 3:
            self.ground = np.random.default_rng().integers(0, 200, 3)
        return super().step(action)


class Still(Square):
    """Nothing ever moves."""

    def picture(self) -> np.ndarray:
        return np.full((HEIGHT, WIDTH, 3), 7, np.uint8)


KINDS = [kind for kind in list(globals().values()) if isinstance(kind, type) and issubclass(kind, Square)]


def world_of(kind: type[Square] | str) -> str:
    """The name that ``make_world`` takes."""
    return f"{__name__}:odd/{kind if isinstance(kind, str) else kind.__name__}-v0"


for _kind in KINDS:
    gym.register(f"odd/{_kind.__name__}-v0", _kind)
